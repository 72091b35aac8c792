//! A stand-in for the driver's library (libnvidia-ml.so.1) with the calls that the sensor makes.
//!
//! What it plays stands in the file `script` beside it, opened when it is loaded and read again at every call, so that a GPU can be lost
//! while it runs. A line is a word and numbers, of which the first is the device's where it is about one:
//!
//! ```text
//! init 9                  nvmlInit answers 9 (driver not loaded); 18 is a driver of another version
//! gpus 2                  two devices
//! lost 1                  device 1 has fallen off the bus
//! bare 1                  device 1 supports nothing but its memory
//! old 1                   device 1 is from before Ampere: retired pages, no remapped rows, a fan
//! memory 0 80 20          device 0 has 80 bytes, 20 of them taken
//! process 0 77 5          process 77 has 5 bytes on device 0
//! process 0 77 5 1        the same on instance 1 of device 0
//! temperature 0 93        degrees; slowdown begins at 92, the end is at 95
//! throttle 0 64           why its clocks are slow: 1 idle, 4 power, 32 and 64 heat
//! hot 0                   93 degrees, slowed down by the driver and the hardware
//! ecc 0 2 5               2 memory errors that could not be corrected, 5 that could
//! retired 0 1 2 1         pages retired after errors of one bit and of two, and whether more wait
//! rows 0 1 2 1 1          rows remapped after corrected and uncorrected errors, whether more wait, whether one failed
//! mig 0 2                 device 0 is divided into two instances, numbers 0 and 2
//! xid 0 79 1              device 0 has XID 79; the last number tells one event from the next of its kind
//! deaf 0                  device 0 tells no events
//! hang                    every call waits for ever
//! hang 1                  every call about device 1 waits for ever
//! stall                   every call waits until this line is gone
//! crash                   the next call ends the process by SIGSEGV
//! ```
#![allow(non_snake_case, non_camel_case_types)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

type Code = c_int;
const SUCCESS: Code = 0;
const INVALID_ARGUMENT: Code = 2;
const NOT_SUPPORTED: Code = 3;
const NOT_FOUND: Code = 6;
const INSUFFICIENT_SIZE: Code = 7;
const TIMEOUT: Code = 10;
const LOST: Code = 15;

unsafe extern "C" {
    fn dladdr(address: *const c_void, info: *mut DlInfo) -> c_int;
}

#[repr(C)]
struct DlInfo {
    file: *const c_char,
    base: *mut c_void,
    symbol: *const c_char,
    address: *mut c_void,
}

/// A word and its numbers.
type Line = (String, Vec<u64>);

fn script() -> Vec<Line> {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let mut info = DlInfo { file: std::ptr::null(), base: std::ptr::null_mut(), symbol: std::ptr::null(), address: std::ptr::null_mut() };
        // SAFETY: the address is this function's own, and the answer's text lives as long as the library.
        let own = unsafe {
            if dladdr(nvmlInit_v2 as *const c_void, &mut info) == 0 {
                return None;
            }
            CStr::from_ptr(info.file).to_str().ok()?.to_owned()
        };
        File::open(std::path::Path::new(&own).with_file_name("script")).ok()
    });
    let look = || {
        let mut text = vec![0; 16 * 1024];
        let count = file.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
        parse(&String::from_utf8_lossy(&text[..count]))
    };
    let mut lines = look();
    while plays(&lines, "stall") {
        std::thread::sleep(Duration::from_millis(20));
        lines = look();
    }
    if lines.iter().any(|(word, numbers)| word == "hang" && numbers.is_empty()) {
        hang();
    }
    if plays(&lines, "crash") {
        // SAFETY: none: this is the crash that the sensor has to survive.
        unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
    }
    lines
}

fn parse(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.map(|number| number.parse().unwrap_or(0)).collect()))
    };
    text.lines().filter_map(line).collect()
}

fn plays(lines: &[Line], word: &str) -> bool {
    lines.iter().any(|(found, _)| found == word)
}

fn hang() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn numbers(word: &str) -> Vec<Vec<u64>> {
    script().into_iter().filter(|(found, _)| found == word).map(|(_, numbers)| numbers).collect()
}

fn about(word: &str, device: u64) -> Option<Vec<u64>> {
    numbers(word).into_iter().find(|line| line.first() == Some(&device))
}

/// A device is handed out as its number and one, as null is no handle; an instance of it also has its own number and one, higher up.
const INSTANCE: u32 = 16;

fn device(handle: *mut c_void) -> u64 {
    (handle as u64 & ((1 << INSTANCE) - 1)) - 1
}

fn instance(handle: *mut c_void) -> Option<u64> {
    (handle as u64 >> INSTANCE).checked_sub(1)
}

/// Answers for a device that is there, unless it is lost.
fn present(handle: *mut c_void) -> Result<u64, Code> {
    let device = device(handle);
    if about("hang", device).is_some() {
        hang();
    }
    if about("lost", device).is_some() { Err(LOST) } else { Ok(device) }
}

/// The same, if it supports more than its memory.
fn answer(handle: *mut c_void, fill: impl FnOnce(u64)) -> Code {
    match present(handle) {
        Ok(device) if about("bare", device).is_some() => NOT_SUPPORTED,
        Ok(device) => {
            fill(device);
            SUCCESS
        }
        Err(code) => code,
    }
}

/// The same for what instances do not have.
fn answer_whole(handle: *mut c_void, fill: impl FnOnce(u64)) -> Code {
    if instance(handle).is_some() { NOT_SUPPORTED } else { answer(handle, fill) }
}

/// A number of a script's line, or another.
fn number(word: &str, device: u64, place: usize, otherwise: u64) -> u64 {
    about(word, device).and_then(|line| line.get(place).copied()).unwrap_or(otherwise)
}

/// # Safety
/// `to` has room for `length` bytes.
unsafe fn put_text(text: &str, to: *mut c_char, length: usize) {
    let bytes = text.as_bytes();
    let count = bytes.len().min(length - 1);
    // SAFETY: at most `length` bytes with the zero.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), to, count);
        *to.add(count) = 0;
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> Code {
    numbers("init").first().and_then(|line| line.first().copied()).unwrap_or(0) as Code
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> Code {
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(text: *mut c_char, length: c_uint) -> Code {
    unsafe { put_text("570.86.15", text, length as usize) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: *mut c_int) -> Code {
    unsafe { *version = 12080 };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> Code {
    unsafe { *count = numbers("gpus").first().and_then(|line| line.first().copied()).unwrap_or(0) as c_uint };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, handle: *mut *mut c_void) -> Code {
    let mut count = 0;
    unsafe { nvmlDeviceGetCount_v2(&mut count) };
    if index >= count {
        return INVALID_ARGUMENT;
    }
    unsafe { *handle = (index as usize + 1) as *mut c_void };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(handle: *mut c_void, text: *mut c_char, length: c_uint) -> Code {
    let profile = if instance(handle).is_some() { " MIG 1g.10gb" } else { "" };
    answer(handle, |_| unsafe { put_text(&format!("NVIDIA H100 80GB HBM3{profile}"), text, length as usize) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(handle: *mut c_void, text: *mut c_char, length: c_uint) -> Code {
    answer(handle, |device| {
        let uuid = match instance(handle) {
            None => format!("GPU-{device:08x}-1111-2222-3333-444455556666"),
            Some(instance) => format!("MIG-{device:08x}-{instance:04x}-2222-3333-444455556666"),
        };
        unsafe { put_text(&uuid, text, length as usize) }
    })
}

#[repr(C)]
pub struct Memory {
    version: c_uint,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(handle: *mut c_void, memory: *mut Memory) -> Code {
    let device = match present(handle) {
        Ok(device) => device,
        Err(code) => return code,
    };
    let line = about("memory", device).unwrap_or_else(|| vec![device, 80 << 30, 1 << 30]);
    let [_, total, used] = line[..] else { return INVALID_ARGUMENT };
    // An instance has a seventh, which is empty.
    let (total, used) = if instance(handle).is_some() { (total / 7, 0) } else { (total, used) };
    unsafe {
        (*memory).total = total;
        (*memory).used = used;
        (*memory).free = total - used;
        (*memory).reserved = 0;
    }
    SUCCESS
}

#[repr(C)]
pub struct Pci {
    legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    id: c_uint,
    subsystem: c_uint,
    bus_id: [c_char; 32],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(handle: *mut c_void, pci: *mut Pci) -> Code {
    answer(handle, |device| unsafe {
        (*pci).bus = device as c_uint + 1;
        put_text(&format!("00000000:{:02X}:00.0", device + 1), (&raw mut (*pci).bus_id).cast(), 32);
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUtilizationRates(handle: *mut c_void, rates: *mut [c_uint; 2]) -> Code {
    answer_whole(handle, |_| unsafe { *rates = [37, 12] })
}

fn temperature(device: u64) -> u64 {
    number("temperature", device, 1, if about("hot", device).is_some() { 93 } else { 41 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperature(handle: *mut c_void, _sensor: c_uint, celsius: *mut c_uint) -> Code {
    answer(handle, |device| unsafe { *celsius = temperature(device) as c_uint })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperatureThreshold(handle: *mut c_void, kind: c_uint, celsius: *mut c_uint) -> Code {
    const SHUTDOWN: c_uint = 0;
    answer(handle, |_| unsafe { *celsius = if kind == SHUTDOWN { 95 } else { 92 } })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPowerUsage(handle: *mut c_void, milliwatts: *mut c_uint) -> Code {
    answer_whole(handle, |_| unsafe { *milliwatts = 71_500 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetEnforcedPowerLimit(handle: *mut c_void, milliwatts: *mut c_uint) -> Code {
    answer_whole(handle, |_| unsafe { *milliwatts = 700_000 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetClockInfo(handle: *mut c_void, kind: c_uint, megahertz: *mut c_uint) -> Code {
    // Graphics, SM, memory.
    answer_whole(handle, |_| unsafe { *megahertz = [1755, 1740, 2619].get(kind as usize).copied().unwrap_or(0) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCurrentClocksThrottleReasons(handle: *mut c_void, reasons: *mut u64) -> Code {
    answer_whole(handle, |device| unsafe { *reasons = number("throttle", device, 1, if about("hot", device).is_some() { 0x60 } else { 0x1 }) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetEccMode(handle: *mut c_void, current: *mut c_uint, pending: *mut c_uint) -> Code {
    answer_whole(handle, |_| unsafe {
        *current = 1;
        *pending = 1;
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTotalEccErrors(handle: *mut c_void, kind: c_uint, _counter: c_uint, count: *mut u64) -> Code {
    const CORRECTED: c_uint = 0;
    answer_whole(handle, |device| unsafe { *count = number("ecc", device, if kind == CORRECTED { 2 } else { 1 }, 0) })
}

#[repr(C)]
pub struct FieldValue {
    field: c_uint,
    scope: c_uint,
    timestamp: i64,
    latency: i64,
    kind: c_uint,
    code: Code,
    value: u64,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetFieldValues(handle: *mut c_void, count: c_int, values: *mut FieldValue) -> Code {
    const UNSIGNED_INT: c_uint = 1;
    answer_whole(handle, |device| {
        // SAFETY: the caller has as many as it says.
        for field in unsafe { std::slice::from_raw_parts_mut(values, count as usize) } {
            let (word, place) = match field.field {
                29..=31 => ("retired", field.field as usize - 28),
                142..=145 => ("rows", field.field as usize - 141),
                _ => ("", 0),
            };
            let has = if about("old", device).is_some() { "retired" } else { "rows" };
            field.code = if word == has { SUCCESS } else { NOT_SUPPORTED };
            field.kind = UNSIGNED_INT;
            field.value = number(word, device, place, 0);
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCurrPcieLinkGeneration(handle: *mut c_void, generation: *mut c_uint) -> Code {
    answer_whole(handle, |_| unsafe { *generation = 1 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCurrPcieLinkWidth(handle: *mut c_void, width: *mut c_uint) -> Code {
    answer_whole(handle, |_| unsafe { *width = 8 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxPcieLinkGeneration(handle: *mut c_void, generation: *mut c_uint) -> Code {
    answer_whole(handle, |_| unsafe { *generation = 5 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxPcieLinkWidth(handle: *mut c_void, width: *mut c_uint) -> Code {
    answer_whole(handle, |_| unsafe { *width = 16 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetFanSpeed_v2(handle: *mut c_void, _fan: c_uint, percent: *mut c_uint) -> Code {
    if about("old", device(handle)).is_none() {
        // A board for a server has none.
        return NOT_SUPPORTED;
    }
    answer_whole(handle, |_| unsafe { *percent = 55 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPerformanceState(handle: *mut c_void, state: *mut c_uint) -> Code {
    answer_whole(handle, |_| unsafe { *state = 2 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeMode(handle: *mut c_void, mode: *mut c_uint) -> Code {
    answer_whole(handle, |_| unsafe { *mode = 0 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigMode(handle: *mut c_void, current: *mut c_uint, pending: *mut c_uint) -> Code {
    if about("old", device(handle)).is_some() {
        return NOT_SUPPORTED;
    }
    answer_whole(handle, |device| unsafe {
        *current = about("mig", device).is_some().into();
        *pending = *current;
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(handle: *mut c_void, count: *mut c_uint) -> Code {
    answer_whole(handle, |_| unsafe { *count = 7 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(handle: *mut c_void, index: c_uint, instance: *mut *mut c_void) -> Code {
    let mut code = SUCCESS;
    let answered = answer_whole(handle, |device| {
        // Numbers have gaps where instances were taken away.
        if index % 2 == 1 || u64::from(index) / 2 >= number("mig", device, 1, 0) {
            code = NOT_FOUND;
        } else {
            unsafe { *instance = (handle as usize | (index as usize + 1) << INSTANCE) as *mut c_void };
        }
    });
    if answered == SUCCESS { code } else { answered }
}

#[repr(C)]
pub struct Process {
    pid: c_uint,
    memory: u64,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(handle: *mut c_void, count: *mut c_uint, processes: *mut Process) -> Code {
    const NO_PERMISSION: Code = 4;
    // A divided device tells nobody but root who uses the whole.
    if instance(handle).is_none() && about("mig", device(handle)).is_some() {
        return NO_PERMISSION;
    }
    let mut code = SUCCESS;
    let answered = answer(handle, |device| {
        let is_here = |line: &Vec<u64>| line.len() > 2 && line[0] == device && line.get(3).copied() == instance(handle);
        let found: Vec<_> = numbers("process").into_iter().filter(is_here).collect();
        // SAFETY: the caller's buffer has room for as many as `count` says.
        unsafe {
            let room = *count as usize;
            *count = found.len() as c_uint;
            if room < found.len() {
                code = INSUFFICIENT_SIZE;
                return;
            }
            for (place, line) in found.iter().enumerate() {
                processes.add(place).write(Process { pid: line[1] as c_uint, memory: line[2], gpu_instance: u32::MAX, compute_instance: u32::MAX });
            }
        }
    });
    if answered == SUCCESS { code } else { answered }
}

/// The devices that an event set hears, each with the events that it has told, or that happened before it listened.
struct EventSet(Mutex<Vec<(usize, Vec<Vec<u64>>)>>);

const CRITICAL_XID: u64 = 8;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetCreate(set: *mut *mut c_void) -> Code {
    unsafe { *set = Box::into_raw(Box::new(EventSet(Mutex::default()))).cast() };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetFree(set: *mut c_void) -> Code {
    // SAFETY: made by nvmlEventSetCreate, and given back once.
    drop(unsafe { Box::from_raw(set.cast::<EventSet>()) });
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetSupportedEventTypes(handle: *mut c_void, kinds: *mut u64) -> Code {
    answer_whole(handle, |device| unsafe { *kinds = if about("deaf", device).is_some() { 0 } else { CRITICAL_XID | 1 | 2 } })
}

fn xids(device: u64) -> Vec<Vec<u64>> {
    numbers("xid").into_iter().filter(|line| line.first() == Some(&device)).collect()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceRegisterEvents(handle: *mut c_void, kinds: u64, set: *mut c_void) -> Code {
    if kinds != CRITICAL_XID {
        return INVALID_ARGUMENT;
    }
    answer_whole(handle, |device| {
        // SAFETY: made by nvmlEventSetCreate.
        let set = unsafe { &*set.cast::<EventSet>() };
        set.0.lock().unwrap().push((handle as usize, xids(device)));
    })
}

#[repr(C)]
pub struct EventData {
    device: *mut c_void,
    kind: u64,
    data: u64,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetWait_v2(set: *mut c_void, event: *mut EventData, milliseconds: c_uint) -> Code {
    // SAFETY: made by nvmlEventSetCreate, and freed by who waits.
    let set = unsafe { &*set.cast::<EventSet>() };
    let end = Instant::now() + Duration::from_millis(milliseconds.into());
    loop {
        for (handle, told) in set.0.lock().unwrap().iter_mut() {
            let handle = *handle as *mut c_void;
            let known = xids(device(handle));
            if let Some(xid) = known.iter().find(|line| !told.contains(line)) {
                told.push(xid.clone());
                let data = xid.get(1).copied().unwrap_or(0);
                unsafe { *event = EventData { device: handle, kind: CRITICAL_XID, data, gpu_instance: u32::MAX, compute_instance: u32::MAX } };
                return SUCCESS;
            }
            // After its last event a lost device fails the set.
            if about("lost", device(handle)).is_some() {
                return LOST;
            }
        }
        if Instant::now() >= end {
            return TIMEOUT;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
