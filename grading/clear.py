"""Makes students' copies with nbgrader; run by nbgrader's own Python, so it imports nothing else.

    python clear.py COURSE ASSIGNMENT ...

Reads COURSE/source/ASSIGNMENT/*.ipynb and writes COURSE/release/ASSIGNMENT/*.ipynb, without worked
solutions, hidden tests and mark schemes.
"""

import sys

from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

for name in sys.argv[2:]:
    config = Config()
    config.CourseDirectory.root, config.CourseDirectory.assignment_id = sys.argv[1], name
    config.SaveCells.enabled = False  # no data base of students
    config.GenerateAssignment.no_database = True
    config.BaseConverter.force = True  # overwrites
    GenerateAssignment(coursedir=CourseDirectory(config=config), config=config).start()
