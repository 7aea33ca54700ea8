"""The way out: networks as MONAI bundle and ONNX, annotations in nnU-Net's layout, a model card; and a bundle's way in."""
