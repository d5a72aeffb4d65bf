"""A model as a folder of C for microcontrollers."""
