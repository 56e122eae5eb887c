//! The program. Everything is in the library; see `cli`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// The hub's work goes from thread to thread: what one has allocated another one frees. Allocators that give each
/// thread a heap with a lock let threads wait for each other there, and that of musl has one lock for all.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    rollcall::cli::main()
}
