"""IPython at the (simulated) beamline: startup/*.py runs in order."""

c = get_config()

c.TerminalIPythonApp.display_banner = False
c.InteractiveShell.xmode = "Plain"
c.TerminalInteractiveShell.confirm_exit = False
c.HistoryManager.enabled = True
