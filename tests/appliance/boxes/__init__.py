"""Boxes to install the appliance in: a booted container and a booted virtual machine, and what is put into them."""
