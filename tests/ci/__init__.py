"""The scripts below .ci/ and the Makefile, with the programs that they call replaced."""
