"""Makes the assignments of the book and grades what students hand in.

`generate` makes the students' copies, `grade` marks a folder of notebooks. A student's code runs
in a process of its own behind a wall (`sandbox`, and `inside` on its far side); only plain data
crosses it (`plain`), and the tests run on the near side, with `checks`.
"""
