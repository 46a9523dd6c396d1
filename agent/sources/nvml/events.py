"""What NVML pushes, told by the worker's second thread the moment it happens.

All work on the event set is done by this one thread, between short waits: whether a set may be changed while another
thread waits on it is nowhere promised. A lost GPU makes the wait fail for all: the set is then built anew without it.
Imported by the worker alone; the binding is handed in.
"""

import ctypes
import threading
from collections.abc import Callable
from types import ModuleType

from agent.sources.nvml import codes

# XID, double-bit ECC, GPU unavailable, recovery action changed.
WANTED = 0x8 | 0x2 | 0x4000 | 0x8000
WAIT_MS = 2000
REBUILD_PAUSE_S = 1.0  # a set that fails at once again must not become a busy loop

Tell = Callable[[int, int, int, int, int], None]  # index, type, data, GPU instance, compute instance


class Watcher:
    """One event set and the thread that waits on it."""

    def __init__(self, nvml: ModuleType, tell: Tell) -> None:
        self._nvml = nvml
        self._tell = tell
        self._lock = threading.Lock()
        self._handles: dict[int, object] = {}
        self._changed = False
        self._stopped = threading.Event()
        self._set: object | None = None
        self._index_of: dict[object, int] = {}
        self._thread: threading.Thread | None = None

    def watch(self, index: int, handle: object) -> None:
        """Tell of this GPU too, from the next wait on."""
        with self._lock:
            self._handles[index] = handle
            self._changed = True

    def forget(self, index: int) -> None:
        """This GPU's handle is no more."""
        with self._lock:
            self._changed |= self._handles.pop(index, None) is not None

    def start(self) -> None:
        """Begin to wait; called once the GPUs are known."""
        if self._thread is None and not self._stopped.is_set():
            self._thread = threading.Thread(target=self._run, name="nvml-events", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Tell nothing more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._refresh()
                if not self._index_of:
                    self._stopped.wait(WAIT_MS / 1000)
                    continue
                self._wait()
            except self._nvml.NVMLError as error:
                if error.value in codes.DRIVER_GONE or (self._set is None and error.value in codes.CANNOT_SAY):
                    return  # the reading thread meets the same and says so; or this driver has no events
                with self._lock:
                    self._changed = True
                self._stopped.wait(REBUILD_PAUSE_S)

    def _wait(self) -> None:
        """One wait. Raises NVMLError other than Timeout."""
        try:
            event = self._nvml.nvmlEventSetWait_v2(self._set, WAIT_MS)
        except self._nvml.NVMLError as error:
            if error.value != codes.TIMEOUT:
                raise
            return
        index = self._index_of.get(_address(event.device))
        if index is None:  # that a driver uses the same pointer for a device every time is nowhere promised
            index = int(self._nvml.nvmlDeviceGetIndex(event.device))
        if not self._stopped.is_set():
            self._tell(
                index,
                int(event.eventType),
                int(event.eventData),
                int(event.gpuInstanceId),
                int(event.computeInstanceId),
            )

    def _refresh(self) -> None:
        """A new set with all GPUs that still answer, if anything changed since the last one."""
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            handles = dict(self._handles)
        nvml = self._nvml
        old, self._set, self._index_of = self._set, None, {}
        if old is not None:
            nvml.nvmlEventSetFree(old)
        fresh = nvml.nvmlEventSetCreate()
        for index, handle in handles.items():
            try:
                kinds = WANTED & nvml.nvmlDeviceGetSupportedEventTypes(handle)
                if kinds:
                    nvml.nvmlDeviceRegisterEvents(handle, kinds, fresh)
                    self._index_of[_address(handle)] = index
            except nvml.NVMLError:
                continue  # lost, or too old for events: the kernel log is the other witness
        self._set = fresh


def _address(handle: object) -> object:
    """What two pointers to the same device have in common."""
    return ctypes.cast(handle, ctypes.c_void_p).value  # type: ignore[arg-type]
