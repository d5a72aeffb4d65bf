"""From Keras: archives, HDF5 files and live models to graphs."""
