"""Reports: the figures of a run as JSON, as a table for a terminal, and as one HTML page.

This room sees plain numbers and small pictures, never an image object. Wherever a score is shown,
it is called agreement with whoever made the reference labels, and never accuracy.
"""

from deephealth.report.case import Case, Picture, summary
from deephealth.report.page import page
from deephealth.report.table import table

__all__ = ["Case", "Picture", "page", "summary", "table"]
