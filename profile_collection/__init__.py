"""An IPython profile as at a beamline; ``startup/`` runs in order when IPython opens it."""
