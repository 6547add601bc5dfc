"""transformers imports torchvision wherever it is installed, as mup has it installed; where that is
of another build than torch (its wheels on PyPI beside a CPU build of torch) the import fails. What
is not needed for text is hidden here, as a user would uninstall it."""

import sys

sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type]  # as if not installed
