/* A library in NVML's place, for machines without a GPU: tests/isolation/test_gpu.py compiles it to libnvidia-ml.so.1, and NVIDIA's
 * own bindings load it by that name. It exports the calls that harness/isolation/gpu.py makes, with NVML's names, argument orders,
 * structures and return codes (https://docs.nvidia.com/deploy/nvml-api/), and answers from the text file that
 * $NVML_STANDIN names, read again at each call, so that a test can change what a GPU does while it is being read:
 *
 *     driver 580.95.05            a line a value; what the file does not name is "not supported"
 *     devices 2
 *     0.name NVIDIA H100 80GB HBM3
 *     0.processes 4242 4243       process ids with a context; of `living` those that are alive, as MPS clients
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9 };
typedef unsigned int uint;
typedef unsigned long long ull;
typedef struct { int index; } *device_t;
static struct { int index; } handles[16];

/* The rest of the line that begins with KEY and a space. */
static int look_up(const char *key, char *value, size_t size) {
    const char *path = getenv("NVML_STANDIN");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[512];
    size_t length = strlen(key);
    if (!file) return DRIVER_NOT_LOADED;
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, key, length) && line[length] == ' ') {
            line[strcspn(line, "\n")] = 0;
            snprintf(value, size, "%s", line + length + 1);
            fclose(file);
            return SUCCESS;
        }
    fclose(file);
    return NOT_SUPPORTED;
}

static int text(device_t device, const char *name, char *value, size_t size) {
    char key[128];
    if (!device) return look_up(name, value, size);
    snprintf(key, sizeof key, "%d.%s", device->index, name);
    return look_up(key, value, size);
}

static int number(device_t device, const char *name, ull *value) {
    char found[512];
    int code = text(device, name, found, sizeof found);
    if (code == SUCCESS) *value = strtoull(found, NULL, 10);
    return code;
}

static int small(device_t device, const char *name, uint *value) {
    ull wide = 0;
    int code = number(device, name, &wide);
    if (code == SUCCESS) *value = (uint)wide;
    return code;
}

int nvmlInitWithFlags(uint flags) { ull count; (void)flags; return number(NULL, "devices", &count); }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Not Supported"; }
int nvmlSystemGetDriverVersion(char *version, uint size) { return text(NULL, "driver", version, size); }
int nvmlSystemGetNVMLVersion(char *version, uint size) { return text(NULL, "nvml", version, size); }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { return small(NULL, "cuda", (uint *)version); }
int nvmlDeviceGetCount_v2(uint *count) { return small(NULL, "devices", count); }

int nvmlDeviceGetHandleByIndex_v2(uint index, device_t *device) {
    ull count = 0;
    number(NULL, "devices", &count);
    if (index >= count || index >= 16) return INVALID_ARGUMENT;
    handles[index].index = (int)index;
    *device = (device_t)&handles[index];
    return SUCCESS;
}

int nvmlDeviceGetName(device_t d, char *name, uint size) { return text(d, "name", name, size); }
int nvmlDeviceGetUUID(device_t d, char *uuid, uint size) { return text(d, "uuid", uuid, size); }
int nvmlDeviceGetMinorNumber(device_t d, uint *minor) { return small(d, "minor", minor); }
int nvmlDeviceGetPowerUsage(device_t d, uint *power) { return small(d, "power", power); }
int nvmlDeviceGetPowerManagementLimit(device_t d, uint *limit) { return small(d, "power_limit", limit); }
int nvmlDeviceGetTotalEnergyConsumption(device_t d, ull *energy) { return number(d, "energy", energy); }
int nvmlDeviceGetPersistenceMode(device_t d, uint *mode) { return small(d, "persistence", mode); }

static int pair(device_t d, const char *name, uint *now, uint *next) {
    int code = small(d, name, now);
    *next = *now;
    return code;
}
int nvmlDeviceGetEccMode(device_t d, uint *now, uint *next) { return pair(d, "ecc", now, next); }
int nvmlDeviceGetMigMode(device_t d, uint *now, uint *next) { return pair(d, "mig", now, next); }

/* 1: of the multiprocessors, 2: of the memory. */
static int clock_of(device_t d, uint kind, const char *most, uint *mhz) {
    char name[64];
    snprintf(name, sizeof name, "%s%s_clock", most, kind == 1 ? "sm" : kind == 2 ? "memory" : "other");
    return small(d, name, mhz);
}
int nvmlDeviceGetClockInfo(device_t d, uint kind, uint *mhz) { return clock_of(d, kind, "", mhz); }
int nvmlDeviceGetMaxClockInfo(device_t d, uint kind, uint *mhz) { return clock_of(d, kind, "max_", mhz); }

typedef struct { uint gpu, memory; } utilization_t;
int nvmlDeviceGetUtilizationRates(device_t d, utilization_t *rates) {
    rates->memory = 0;
    return small(d, "utilisation", &rates->gpu);
}

typedef struct { ull total, free, used; } memory_t;
typedef struct { uint version; ull total, reserved, free, used; } memory_v2_t;
int nvmlDeviceGetMemoryInfo_v2(device_t d, memory_v2_t *memory) {
    int code = number(d, "memory_used", &memory->used);
    if (memory->version != (sizeof *memory | 2 << 24)) return 25; /* ARGUMENT_VERSION_MISMATCH */
    memory->reserved = 600ull << 20;
    return code == SUCCESS ? number(d, "memory_total", &memory->total) : code;
}
/* Version 1 counts what the driver keeps for itself as used. */
int nvmlDeviceGetMemoryInfo(device_t d, memory_t *memory) {
    int code = number(d, "memory_used", &memory->used);
    memory->used += 600ull << 20;
    return code == SUCCESS ? number(d, "memory_total", &memory->total) : code;
}

typedef struct {
    char busIdLegacy[16];
    uint domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} pci_t;
int nvmlDeviceGetPciInfo_v3(device_t d, pci_t *pci) {
    char found[64];
    int code = text(d, "pci", found, sizeof found);
    memset(pci, 0, sizeof *pci);
    if (code == SUCCESS) sscanf(found, "%x:%x:%x.0", &pci->domain, &pci->bus, &pci->device);
    return code;
}

typedef struct { uint pid; ull usedGpuMemory; uint gpuInstanceId, computeInstanceId; } process_t;
static int listed(device_t d, const char *name, uint *count, process_t *processes) {
    char found[512];
    uint room = *count, number = 0;
    int code = text(d, name, found, sizeof found);
    if (code != SUCCESS) return code;
    for (char *word = strtok(found, " "); word; word = strtok(NULL, " ")) {
        uint pid = (uint)strtoul(word, NULL, 10);
        if (!strcmp(name, "living") && kill((pid_t)pid, 0)) continue;
        if (processes && number < room) {
            memset(&processes[number], 0, sizeof *processes);
            processes[number].pid = pid;
        }
        number++;
    }
    *count = number;
    return number > room ? INSUFFICIENT_SIZE : SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses_v3(device_t d, uint *count, process_t *processes) {
    return listed(d, "processes", count, processes);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(device_t d, uint *count, process_t *processes) {
    return listed(d, "graphics", count, processes);
}
int nvmlDeviceGetMPSComputeRunningProcesses_v3(device_t d, uint *count, process_t *processes) {
    return listed(d, "living", count, processes);
}
