//! The tables of the L7 tier as memory: a worker reads and writes them without
//! a system call.

use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::Maps;
use crate::sys::Words;
use crate::types::{head_note, l7_worker, splice, splice_note, splice_progress};
use crate::{Error, Plain, consts};

const WORD: usize = size_of::<u64>();
const SPLICE_WORDS: usize = size_of::<splice>() / WORD;
const PROGRESS_WORDS: usize = size_of::<splice_progress>() / WORD;
const NOTE_WORDS: usize = size_of::<splice_note>() / WORD;
const HEAD_WORDS: usize = size_of::<head_note>() / WORD;
const WORKER_WORDS: usize = size_of::<l7_worker>() / WORD;

/// `splices`, `splice_progress`, `head_notes` and `l7_workers`, mapped. A number's splice
/// has one writer at a time: the worker that the number belongs to. A number
/// beyond the table is ignored, and reads as zeroes.
pub struct L7Tables {
    splices: Words,
    progress: Words,
    heads: Words,
    workers: Words,
    flows: u32,
}

impl Maps {
    /// Maps the tables of the L7 tier.
    pub fn l7_tables(&self) -> Result<L7Tables, Error> {
        let flows = self.limits.rounded().l7_flows;
        let map = |table: &'static str, entries: u32, words: usize| {
            Words::map(self.map(table).as_fd(), entries as usize * words)
                .map_err(|source| Error::Read { table, source })
        };
        Ok(L7Tables {
            splices: map("splices", flows, SPLICE_WORDS)?,
            progress: map("splice_progress", flows, PROGRESS_WORDS)?,
            heads: map("head_notes", flows, HEAD_WORDS)?,
            workers: map("l7_workers", consts::L7_QUEUES_MAX, WORKER_WORDS)?,
            flows,
        })
    }
}

impl L7Tables {
    /// How many numbers there are.
    pub fn flows(&self) -> u32 {
        self.flows
    }

    /// Puts a splice in the place of the one before; `seq` is looked after
    /// here. A program sees the old one, the new one, or that it is changing.
    pub fn set_splice(&self, number: u32, value: &splice) {
        let Some([first, rest @ ..]) = entry(&self.splices, number, SPLICE_WORDS) else {
            return;
        };
        let old = first.load(Ordering::Relaxed);
        let seq = (old as u32) & !1;
        first.store(with_low(old, seq | 1), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let mut words = words_of(value);
        let head = words.next().unwrap_or_default();
        for (place, word) in rest.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        // 0 only ever stands for "never written".
        let next = seq.wrapping_add(2).max(2);
        first.store(with_low(head, next), Ordering::Release);
    }

    /// Takes a splice away: what belongs to its flow goes up from now on.
    pub fn remove_splice(&self, number: u32) {
        self.set_splice(number, &splice::default());
    }

    /// A splice as it stands; its own worker reads no half-written one.
    pub fn splice(&self, number: u32) -> splice {
        read(&self.splices, number, SPLICE_WORDS)
    }

    /// Where a binding starts. To be written before its splice.
    pub fn start(&self, number: u32, binding: u32, note: &splice_note) {
        let Some(places) = entry(&self.progress, number, PROGRESS_WORDS) else {
            return;
        };
        let first = (binding & 1) as usize * NOTE_WORDS;
        let words = words_of(note);
        for (place, word) in places[first..first + NOTE_WORDS].iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        // A note of another binding counts for nothing; one of this number's
        // from before a restart could have the same.
        for place in entry(&self.heads, number, HEAD_WORDS).unwrap_or_default() {
            place.store(0, Ordering::Relaxed);
        }
    }

    /// The requests that passed without the worker. A program that is writing
    /// is waited for: it takes a few hundred instructions, and a splice that
    /// was set before is seen by any that begins later.
    pub fn heads(&self, number: u32) -> head_note {
        fence(Ordering::SeqCst);
        loop {
            let note: head_note = read(&self.heads, number, HEAD_WORDS);
            let again: head_note = read(&self.heads, number, HEAD_WORDS);
            if note.seq & 1 == 0 && note.seq == again.seq {
                return note;
            }
            std::hint::spin_loop();
        }
    }

    /// What passed without the worker. A field may be newer than another.
    pub fn progress(&self, number: u32) -> splice_progress {
        read(&self.progress, number, PROGRESS_WORDS)
    }

    /// The worker of a queue lives. `now_ns` is CLOCK_MONOTONIC_COARSE.
    pub fn beat(&self, queue: u32, generation: u32, now_ns: u64) {
        if let Some([beat, second, ..]) = entry(&self.workers, queue, WORKER_WORDS) {
            second.store(generation.into(), Ordering::Relaxed);
            beat.store(now_ns, Ordering::Release);
        }
    }

    /// What the worker of a queue has last said.
    pub fn worker(&self, queue: u32) -> l7_worker {
        read(&self.workers, queue, WORKER_WORDS)
    }
}

fn with_low(word: u64, low: u32) -> u64 {
    // abi.h is little-endian hosts' only: the first member is the low half.
    word & !u64::from(u32::MAX) | u64::from(low)
}

fn entry(words: &Words, index: u32, n: usize) -> Option<&[AtomicU64]> {
    let first = index as usize * n;
    words.all().get(first..first + n)
}

fn words_of<T: Plain>(value: &T) -> impl Iterator<Item = u64> {
    value
        .as_bytes()
        .chunks_exact(WORD)
        .map(|chunk| u64::from_ne_bytes(chunk.try_into().expect("chunks of eight")))
}

fn read<T: Plain>(words: &Words, index: u32, n: usize) -> T {
    const MOST: usize = 20;
    let mut bytes = [0; MOST * WORD];
    let places = entry(words, index, n).unwrap_or_default();
    for (place, chunk) in places.iter().zip(bytes.chunks_exact_mut(WORD)) {
        chunk.copy_from_slice(&place.load(Ordering::Acquire).to_ne_bytes());
    }
    T::from_bytes(&bytes[..n * WORD]).expect("the tables' values are whole words")
}
