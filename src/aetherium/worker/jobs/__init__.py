"""Carrying out jobs: a source in; steps; artifacts, reports and a patch out. No guest is trusted."""
