"""Files of amplifier plugins that hold recurrent networks as JSON: RTNeural and AIDA-X, Neural Amp Modeler."""
