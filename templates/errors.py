"""What can go wrong with a template.

::

    TemplateError
    ├── ParameterError    a parameter is unknown, missing, wrong, or contradicts another
    ├── UnknownTemplate   there is no template of that name
    ├── ImageError        the image can't be built, or its base images not be pinned
    └── LaunchError       Dataflow, or the way to it, refused the launch
        └── LaunchUnknown     no answer tells whether it was launched
"""

from __future__ import annotations


class TemplateError(Exception):
    """Root of this package's errors; the message is all that a user is shown."""


class ParameterError(TemplateError):
    """The operator's to mend; the message names the parameter and has an example."""


class UnknownTemplate(TemplateError):
    """The message names those that there are."""


class ImageError(TemplateError):
    """No image was built, no digest was taken; the message says what to do."""


class LaunchError(TemplateError):
    """No job was started, but for LaunchUnknown; the message says what to do."""


class LaunchUnknown(LaunchError):
    """A job may have been started; the message says how to see whether one was."""
