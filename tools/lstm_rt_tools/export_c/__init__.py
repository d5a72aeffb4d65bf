"""A model as plain C for microcontrollers: a folder that needs nothing else.

A *kind* of arithmetic makes a :class:`~lstm_rt_tools.export_c.plan.Plan` of a graph (``floats.py``): what the memory
holds, which arrays and headers of the core there are, which functions a step calls. All else knows plans only:
``source.py`` writes the files of the model itself, ``selftest.py`` and ``readme.py`` those beside them,
``libraries.py`` what the Arduino IDE and PlatformIO want, ``core.py`` finds the headers, ``folder.py`` writes whole
folders.
"""
