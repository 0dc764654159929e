//! The C library's own `posix_spawn`: what the dynamic loader would take if this library were not there.
//!
//! Owns the look-up. `dlsym(RTLD_NEXT)` would do it, but glibc before 2.34 has it in a library that most programs do not
//! load. So the loaded objects behind this one are asked for the symbol, by the tables that the loader itself uses.
#![expect(unsafe_code, reason = "reads the tables of loaded objects")]

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;

/// `PT_LOAD`, `PT_DYNAMIC`, and tags of the dynamic section: `include/uapi/linux/elf.h`, glibc's `elf/elf.h`.
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_HASH: usize = 4;
const DT_STRTAB: usize = 5;
const DT_SYMTAB: usize = 6;
const DT_GNU_HASH: usize = 0x6fff_fef5;
const DT_VERSYM: usize = 0x6fff_fff0;
/// In a symbol's version: an old one, only for programs that were linked with it.
const HIDDEN: u16 = 0x8000;

/// `Elf64_Phdr`.
#[repr(C)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: usize,
    physical: u64,
    file_size: u64,
    size: usize,
    align: u64,
}

/// `Elf64_Sym`.
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: usize,
    size: u64,
}

/// `struct dl_phdr_info`, as much of it as is needed.
#[repr(C)]
struct Object {
    base: usize,
    name: *const c_char,
    segments: *const Segment,
    count: u16,
}

unsafe extern "C" {
    fn dl_iterate_phdr(
        visit: unsafe extern "C" fn(*const Object, usize, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
}

/// Lies in this library.
static HERE: u8 = 0;

struct Search<'n> {
    name: &'n CStr,
    behind: bool,
    found: usize,
}

/// Address of a function in the first object behind this one that has it; 0 if none has.
pub(crate) fn function(name: &CStr) -> usize {
    let mut search = Search { name, behind: false, found: 0 };
    // SAFETY: `visit` takes what is passed here, which lives longer than the call.
    unsafe { dl_iterate_phdr(visit, ptr::from_mut(&mut search).cast()) };
    search.found
}

unsafe extern "C" fn visit(object: *const Object, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: `function` passes a Search that nobody else uses meanwhile.
    let search = unsafe { &mut *data.cast::<Search<'_>>() };
    // SAFETY: the loader passes an object that lives during the call.
    let object = unsafe { &*object };
    if !search.behind {
        search.behind = object.holds(ptr::from_ref(&HERE).addr());
        return 0;
    }
    search.found = object.find(search.name).unwrap_or(0);
    c_int::from(search.found != 0)
}

/// A value at an address of the object's memory.
///
/// # Safety
/// The loader's tables say that a value of this type is there.
unsafe fn read<T>(address: usize) -> T {
    // SAFETY: as the caller says.
    unsafe { ptr::with_exposed_provenance::<T>(address).read_unaligned() }
}

impl Object {
    fn segments(&self) -> impl Iterator<Item = &Segment> {
        (0..usize::from(self.count)).map(|index| {
            // SAFETY: the loader gives `count` program headers at `segments`.
            unsafe { &*self.segments.wrapping_add(index) }
        })
    }

    fn holds(&self, address: usize) -> bool {
        let mut loaded = self.segments().filter(|segment| segment.kind == PT_LOAD);
        loaded.any(|segment| {
            address.wrapping_sub(self.base.wrapping_add(segment.address)) < segment.size
        })
    }

    /// A table by its tag. glibc has made most of them addresses, musl leaves offsets.
    fn table(&self, tag: usize) -> Option<usize> {
        let dynamic = self.segments().find(|segment| segment.kind == PT_DYNAMIC)?;
        let mut entry = self.base.wrapping_add(dynamic.address);
        loop {
            // SAFETY: in the dynamic section, which ends with a tag of 0.
            let [found, value] = unsafe { read::<[usize; 2]>(entry) };
            if found == tag {
                return Some(if value < self.base { value.wrapping_add(self.base) } else { value });
            }
            if found == 0 {
                return None;
            }
            entry = entry.wrapping_add(size_of::<[usize; 2]>());
        }
    }

    /// Address of a function that this object defines.
    fn find(&self, name: &CStr) -> Option<usize> {
        let (symbols, strings) = (self.table(DT_SYMTAB)?, self.table(DT_STRTAB)?);
        let versions = self.table(DT_VERSYM);
        let matches = |index: u32| {
            let index = usize::try_from(index).ok()?;
            // SAFETY: the hash tables hold indices of the symbol table only.
            let symbol =
                unsafe { read::<Symbol>(symbols.wrapping_add(index * size_of::<Symbol>())) };
            let text = strings.wrapping_add(usize::try_from(symbol.name).ok()?);
            // SAFETY: symbols name strings of the string table.
            let text = unsafe { CStr::from_ptr(ptr::with_exposed_provenance(text)) };
            let hidden = versions.is_some_and(|versions| {
                // SAFETY: has an entry for each symbol.
                unsafe { read::<u16>(versions.wrapping_add(index * 2)) & HIDDEN != 0 }
            });
            let defined = symbol.section != 0 && !hidden && text == name;
            defined.then(|| self.base.wrapping_add(symbol.value))
        };
        match self.table(DT_GNU_HASH) {
            Some(table) => by_gnu_hash(table, name, matches),
            None => by_hash(self.table(DT_HASH)?, matches),
        }
    }
}

/// Number, symbol offset, bloom size, bloom shift; the bloom filter; buckets; then a chain value for each symbol.
fn by_gnu_hash(table: usize, name: &CStr, matches: impl Fn(u32) -> Option<usize>) -> Option<usize> {
    let hash = name
        .to_bytes()
        .iter()
        .fold(5381_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)));
    // SAFETY: the table begins so.
    let [number, first, bloom, _shift] = unsafe { read::<[u32; 4]>(table) };
    let word = |index: u32| {
        let bytes = usize::try_from(bloom).ok()? * 8 + usize::try_from(index).ok()? * 4;
        // SAFETY: a bucket, or a chain value of a symbol that a bucket or its predecessor leads to.
        Some(unsafe { read::<u32>(table.wrapping_add(16).wrapping_add(bytes)) })
    };
    let mut index = word(hash.checked_rem(number)?)?;
    if index < first {
        return None;
    }
    loop {
        let chain = word(number + (index - first))?;
        if chain | 1 == hash | 1
            && let Some(found) = matches(index)
        {
            return Some(found);
        }
        if chain & 1 == 1 {
            return None;
        }
        index += 1;
    }
}

/// The second number is that of the symbols.
fn by_hash(table: usize, matches: impl Fn(u32) -> Option<usize>) -> Option<usize> {
    // SAFETY: the table begins so.
    let [_buckets, symbols] = unsafe { read::<[u32; 2]>(table) };
    (1..symbols).find_map(matches)
}
