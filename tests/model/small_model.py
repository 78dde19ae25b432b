"""The ``[model]`` table of a train recipe whose model trains in milliseconds; every part is there."""

MODEL = """
[model]
preset = "tiny"
tokenizer_size = 300
num_frames = 2
image_size = 42
layers = 1
vision_layers = 2
mask_image_size = 64
hiera_width = 8
mask_width = 32
"""
