//! A disk in memory that writes down what is done to it, fails when told to and can lose its power at any moment.

use std::io;
use std::sync::Mutex;

use rand::Rng;
use rand::rngs::StdRng;

use crate::log::file::Disk;

/// What a disk writes whole or not at all, at best and at worst: a page of the kernel, and a sector of an old disk.
const UNITS: [usize; 2] = [4096, 512];

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// The calls that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    SetLen,
    Sync,
}

/// The `nth` call from now on fails, once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    pub(crate) nth: u32,
    pub(crate) errno: i32,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    acts: Vec<Act>,
    fault: Option<Fault>,
}

#[derive(Debug, Default)]
pub(crate) struct Drive(Mutex<State>);

impl Drive {
    pub(crate) fn holding(bytes: Vec<u8>) -> Drive {
        Drive(Mutex::new(State { bytes, ..State::default() }))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    /// How many calls have changed the disk.
    pub(crate) fn acts(&self) -> usize {
        self.0.lock().unwrap().acts.len()
    }

    pub(crate) fn recorded(&self) -> Vec<Act> {
        self.0.lock().unwrap().acts.clone()
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.0.lock().unwrap().fault = Some(fault);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.0.lock().unwrap().fault.is_none()
    }

    fn act(&self, call: Call, act: Act) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if let Some(fault) = state.fault.as_mut().filter(|fault| fault.call == call) {
            fault.nth -= 1;
            let errno = fault.errno;
            if fault.nth == 0 {
                state.fault = None;
                return Err(io::Error::from_raw_os_error(errno));
            }
        }
        apply(&act, &mut state.bytes);
        state.acts.push(act);
        Ok(())
    }
}

fn apply(act: &Act, bytes: &mut Vec<u8>) {
    match act {
        Act::Write(at, data) => put(bytes, *at as usize, data),
        Act::SetLen(len) => bytes.resize(*len as usize, 0),
        Act::Sync => {}
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

impl Disk for Drive {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let from = offset as usize;
        let found = state.bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.act(Call::Write, Act::Write(offset, data.to_vec()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.act(Call::SetLen, Act::SetLen(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.act(Call::Sync, Act::Sync)
    }
}

/// What a disk may hold after its power was cut: everything up to the last sync, and any part of what came later.
#[derive(Debug)]
pub(crate) struct PowerCuts {
    acts: Vec<Act>,
    /// What is durable by `synced`, the position behind a sync.
    durable: Vec<u8>,
    synced: usize,
}

impl PowerCuts {
    pub(crate) fn new(before: Vec<u8>, acts: Vec<Act>) -> PowerCuts {
        PowerCuts { acts, durable: before, synced: 0 }
    }

    /// One image of a cut after `at` acts. Cuts go forward: `at` is not smaller than the last one.
    pub(crate) fn image(&mut self, at: usize, random: &mut StdRng) -> Vec<u8> {
        let last = self.acts[self.synced..at].iter().rposition(|act| matches!(act, Act::Sync));
        if let Some(last) = last {
            let synced = self.synced + last + 1;
            for act in &self.acts[self.synced..synced] {
                apply(act, &mut self.durable);
            }
            self.synced = synced;
        }
        let mut image = self.durable.clone();
        let late = &self.acts[self.synced..at];
        match random.random_range(0..4) {
            // In order up to somewhere, the last write torn.
            0 => {
                let kept = random.random_range(0..=late.len());
                late[..kept].iter().for_each(|act| apply(act, &mut image));
                if let Some(torn) = late.get(kept) {
                    part(torn, &mut image, random, 0.5);
                }
            }
            // Any of the writes, each whole.
            1 => late.iter().filter(|_| random.random_bool(0.5)).for_each(|act| apply(act, &mut image)),
            // Any part of any write.
            _ => {
                let kept = [0.05, 0.3, 0.5, 0.7, 0.95][random.random_range(0..5)];
                late.iter().for_each(|act| part(act, &mut image, random, kept));
            }
        }
        image
    }
}

/// Some units of a write, each with the same chance.
fn part(act: &Act, image: &mut Vec<u8>, random: &mut StdRng, kept: f64) {
    let Act::Write(at, data) = act else {
        if random.random_bool(kept) {
            apply(act, image);
        }
        return;
    };
    let unit = UNITS[random.random_range(0..UNITS.len())];
    for (n, piece) in data.chunks(unit).enumerate() {
        if random.random_bool(kept) {
            put(image, *at as usize + n * unit, piece);
        }
    }
}
