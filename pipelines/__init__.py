"""The works: recipes, the plan of a build, its execution in this process or on Ray, reports, and the command line."""
