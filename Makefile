# The commands of this project. All the work is in book/build.py.
PYTHON ?= python3
PORT ?= 8000
export PORT DIR UNSAFE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help book test serve zip pdf links assignments grade clean

help:
	@echo "make book    set up .venv, run every notebook, build the pages"
	@echo "make test    check the style, run the tests, look at a book of smoke scale in Chromium"
	@echo "make serve   show the book at http://127.0.0.1:$(PORT)/ (set PORT to change it)"
	@echo "make zip     pack the pages into one file, for an intranet or a learning platform"
	@echo "make pdf     print the whole book into one file; needs Chromium"
	@echo "make links   ask for every outside address that a page links to; needs the network"
	@echo "make assignments        write the students' copies and the solutions"
	@echo "make grade DIR=FOLDER   grade every notebook in a folder"
	@echo "make clean   remove everything that was built; .venv stays"

book test serve zip pdf links assignments grade clean:
	@exec "$(PYTHON)" -m book.build $@
