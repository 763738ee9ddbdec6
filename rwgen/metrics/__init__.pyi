"""Types of the lazily loaded public names; `__init__.py` reads them from here."""

from .fidelity import psnr as psnr
from .fidelity import ssim as ssim
from .held_out import HeldOutNetworks as HeldOutNetworks
from .held_out import gram_distance as gram_distance
from .texture import copy_rate as copy_rate
from .texture import patch_variance_distance as patch_variance_distance
from .texture import power_spectrum_distance as power_spectrum_distance
from .texture import sliced_wasserstein as sliced_wasserstein
