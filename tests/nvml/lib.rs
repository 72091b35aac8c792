//! A stand-in for the driver's library (libnvidia-ml.so.1) with the calls that the sensor makes.
//!
//! What it plays stands in the file `script` beside it, opened when it is loaded and read again at every call, so that a GPU can be lost
//! while it runs. A line is a word and numbers:
//!
//! ```text
//! init 9            nvmlInit answers 9 (driver not loaded); 18 is a driver of another version
//! gpus 2            two devices
//! lost 1            device 1 has fallen off the bus
//! memory 0 80 20    device 0 has 80 bytes, 20 of them taken
//! bare 1            device 1 supports nothing but its memory
//! process 0 77 5    process 77 has 5 bytes on device 0
//! hot 0             device 0 is slowed down by heat
//! hang              every call waits for ever
//! crash             the next call ends the process by SIGSEGV
//! ```
#![allow(non_snake_case, non_camel_case_types)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

type Code = c_int;
const SUCCESS: Code = 0;
const INVALID_ARGUMENT: Code = 2;
const NOT_SUPPORTED: Code = 3;
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

fn script() -> Vec<(String, Vec<u64>)> {
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
    let mut text = vec![0; 4096];
    let count = file.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
    let text = String::from_utf8_lossy(&text[..count]).into_owned();
    let lines: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.map(|number| number.parse().unwrap_or(0)).collect()))
        })
        .collect();
    if lines.iter().any(|(word, _): &(String, Vec<u64>)| word == "hang") {
        loop {
            std::thread::sleep(std::time::Duration::from_secs(3600));
        }
    }
    if lines.iter().any(|(word, _)| word == "crash") {
        // SAFETY: none: this is the crash that the sensor has to survive.
        unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
    }
    lines
}

fn numbers(word: &str) -> Vec<Vec<u64>> {
    script().into_iter().filter(|(found, _)| found == word).map(|(_, numbers)| numbers).collect()
}

fn about(word: &str, device: u64) -> Option<Vec<u64>> {
    numbers(word).into_iter().find(|line| line.first() == Some(&device))
}

/// Devices are handed out as their number and one, as null is no handle.
fn device(handle: *mut c_void) -> u64 {
    handle as u64 - 1
}

/// Answers for a device that is there and supports it, unless it is lost.
fn answer(handle: *mut c_void, fill: impl FnOnce(u64)) -> Code {
    let device = device(handle);
    if about("lost", device).is_some() {
        return LOST;
    }
    if about("bare", device).is_some() {
        return NOT_SUPPORTED;
    }
    fill(device);
    SUCCESS
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
    answer(handle, |_| unsafe { put_text("NVIDIA H100 80GB HBM3", text, length as usize) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(handle: *mut c_void, text: *mut c_char, length: c_uint) -> Code {
    answer(handle, |device| unsafe { put_text(&format!("GPU-{device:08x}-1111-2222-3333-444455556666"), text, length as usize) })
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
    let device = device(handle);
    if about("lost", device).is_some() {
        return LOST;
    }
    let line = about("memory", device).unwrap_or_else(|| vec![device, 80 << 30, 1 << 30]);
    let [_, total, used] = line[..] else { return INVALID_ARGUMENT };
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
    answer(handle, |_| unsafe { *rates = [37, 12] })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperature(handle: *mut c_void, _sensor: c_uint, celsius: *mut c_uint) -> Code {
    answer(handle, |device| unsafe { *celsius = if about("hot", device).is_some() { 93 } else { 41 } })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPowerUsage(handle: *mut c_void, milliwatts: *mut c_uint) -> Code {
    answer(handle, |_| unsafe { *milliwatts = 71_500 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetEnforcedPowerLimit(handle: *mut c_void, milliwatts: *mut c_uint) -> Code {
    answer(handle, |_| unsafe { *milliwatts = 700_000 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCurrentClocksThrottleReasons(handle: *mut c_void, reasons: *mut u64) -> Code {
    // nvmlClocksThrottleReasonSwThermalSlowdown, nvmlClocksThrottleReasonGpuIdle
    answer(handle, |device| unsafe { *reasons = if about("hot", device).is_some() { 0x20 } else { 0x1 } })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTotalEccErrors(handle: *mut c_void, _kind: c_uint, _counter: c_uint, count: *mut u64) -> Code {
    answer(handle, |device| unsafe { *count = about("ecc", device).and_then(|line| line.get(1).copied()).unwrap_or(0) })
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
    const INSUFFICIENT_SIZE: Code = 7;
    let mut code = SUCCESS;
    let answered = answer(handle, |device| {
        let found: Vec<_> = numbers("process").into_iter().filter(|line| line.len() == 3 && line[0] == device).collect();
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
