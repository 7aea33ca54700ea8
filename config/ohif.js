// OHIF as the node serves it at /ohif/: one origin with Orthanc's DICOMweb, so that drawings are saved where they were opened.
// Nothing outside of this origin is asked. For another web server, serve OHIF's files below /ohif/ with this as app-config.js.
window.config = {
  name: 'pacs-apprentice',
  routerBasename: '/ohif',
  showStudyList: true,
  extensions: [],
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
