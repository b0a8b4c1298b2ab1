"""How does a test have a device lose all that it holds, as when the module had to be initialised again?"""

from hsm.device import Device

WAIT_SECONDS = 10


def reopen(device: Device) -> None:
    """Initialise its module and have it log in again. Other devices of this process follow at their next call."""
    module = device._guard.module
    with module.lock.exclusive(WAIT_SECONDS):
        module.reinitialize()
    device.random(1)  # which looks up no key
