"""Autobahn's wstest out of a folder that pip has installed into: wstest.py FOLDER ARGUMENT ..., by Python 2.7."""
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite import wstest
wstest.run()
