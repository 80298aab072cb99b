"""Good weights do not help a run that does not end."""

import shutil
import time

shutil.copyfile("/base/model.safetensors", "/output/model.safetensors")
print("TRIED to sleep on", flush=True)
time.sleep(600)
