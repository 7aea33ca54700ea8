// OHIF as the node serves it at /ohif/: one origin with Orthanc's DICOMweb, so that drawings are saved where they were opened.
// Nothing outside of this origin is asked. For another web server, serve OHIF's files below /ohif/ with this as app-config.js.

// Links of the node open a study at an image, with a segmentation laid over it and ready to be edited:
// /ohif/segmentation?StudyInstanceUIDs=STUDY&hangingProtocolId=apprentice&initialSopInstanceUID=IMAGE&initialSeriesInstanceUID=SEG
// Image and segmentation may be left out. OHIF's own protocols lay nothing over, or do not go to the image in this mode.
const links = {
  id: 'pacs-apprentice.links',
  preRegistration({ servicesManager }) {
    servicesManager.services.hangingProtocolService.addCustomAttribute(
      'apprenticeImage',
      'Where the image of the address is in the series',
      displaySets => {
        const wanted = [...new URLSearchParams(location.search)].find(([key]) => key.toLowerCase() === 'initialsopinstanceuid');
        const images = displaySets.find(one => one.numImageFrames > 0);
        const index = images?.instances?.findIndex(one => one.SOPInstanceUID === wanted?.[1]) ?? -1;
        return index === -1 ? { preset: 'middle' } : { index };
      }
    );
  },
  getHangingProtocolModule: () => [{ name: protocol.id, protocol }],
};

const inAddress = { attribute: 'isDisplaySetFromUrl', constraint: { equals: true } };
const protocol = {
  id: 'apprentice',
  locked: true,
  name: 'Image and segmentation of a link',
  protocolMatchingRules: [],
  toolGroupIds: ['default'],
  numberOfPriorsReferenced: 0,
  displaySetSelectors: {
    images: {
      seriesMatchingRules: [
        { attribute: 'numImageFrames', constraint: { greaterThan: { value: 0 } }, weight: 10, required: true },
        { ...inAddress, weight: 20 },
      ],
    },
    segmentation: {
      seriesMatchingRules: [
        { attribute: 'Modality', constraint: { equals: { value: 'SEG' } }, required: true },
        { ...inAddress, required: true },
      ],
    },
  },
  stages: [
    {
      name: 'default',
      viewportStructure: { layoutType: 'grid', properties: { rows: 1, columns: 1 } },
      viewports: [
        {
          viewportOptions: {
            viewportType: 'stack',
            viewportId: 'default',
            toolGroupId: 'default',
            allowUnmatchedView: true,
            initialImageOptions: { custom: 'apprenticeImage' },
            syncGroups: [{ type: 'hydrateseg', id: 'sameFORId', source: true, target: true }],
          },
          displaySets: [{ id: 'images' }, { id: 'segmentation' }],
        },
      ],
    },
  ],
};

window.config = {
  name: 'pacs-apprentice',
  routerBasename: '/ohif',
  showStudyList: true,
  extensions: [links],
  modes: [],
  customizationService: {},
  maxNumberOfWebWorkers: 3,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  investigationalUseDialog: { option: 'configure', days: 30 },
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 10 },
  defaultDataSourceName: 'orthanc',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'orthanc',
      configuration: {
        friendlyName: 'PACS',
        name: 'orthanc',
        qidoRoot: '/dicom-web',
        wadoRoot: '/dicom-web',
        wadoUriRoot: '/wado',
        // Orthanc answers to these; without them OHIF asks for what it does not have.
        qidoSupportsIncludeField: false,
        supportsReject: false,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        dicomUploadEnabled: false,
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors',
        enableStudyLazyLoad: true,
        singlepart: 'bulkdata,pdf,video',
        acceptHeader: ['multipart/related; type=application/octet-stream; transfer-syntax=*'],
        omitQuotationForMultipartRequest: true,
        bulkDataURI: { enabled: true, relativeResolution: 'studies' },
      },
    },
  ],
};

// The companion panel: what the node makes of the open study. Without these lines, or without the node, OHIF is as ever.
try {
  const companion = document.createElement('script');
  companion.type = 'module';
  companion.src = '/static/companion.js';
  document.head.append(companion);
} catch (error) {
  console.debug('no companion panel', error);
}
