"""JSON that holds a whole model: amplifiers of RTNeural, AIDA-X and Neural Amp Modeler, word segmenters of ICU."""
