//! Files to import: reading them, and importing them twice.

use std::cell::RefCell;

use rollcall::import::entry::Entry;
use rollcall::import::ldif::Reader;
use rollcall::import::{Contents, Counts, Dn, Format, Options, contents, import};

use crate::api::World;
use crate::split;

/// Reads a file twice: the same comes out, in proportion to what went in.
fn read(format: Format, data: &[u8], change: impl Fn(&mut Options)) -> Option<Contents> {
    let mut options = Options::of("", format);
    change(&mut options);
    let first = contents(data, &options).ok()?;
    let entries = first.units.len() + first.users.len() + first.groups.len();
    assert!(
        entries <= data.len(),
        "{entries} entries from {} bytes",
        data.len()
    );
    assert_eq!(contents(data, &options).ok().as_ref(), Some(&first));
    Some(first)
}

/// CSV, with its separator found out or given.
pub fn csv(data: &[u8]) {
    let (how, rest) = split(data);
    let delimiter = [None, Some(","), Some(";"), Some("tab")][usize::from(how % 4)];
    let delimiter = delimiter.map(|text| text.parse().unwrap());
    read(Format::Csv, rest, |options| options.delimiter = delimiter);
}

/// LDIF. Besides, a distinguished name is the same after it was written and read.
pub fn ldif(data: &[u8]) {
    read(Format::Ldif, data, |_| ());
    for record in Reader::new(data).flatten() {
        let again = Dn::parse(&record.dn.to_string()).unwrap();
        assert_eq!(again.normalized(), record.dn.normalized());
        for length in 0..=record.dn.rdns().len() {
            let _ = record.dn.base(length);
        }
    }
    if let Ok(dn) = std::str::from_utf8(data)
        .map_err(drop)
        .and_then(|text| Dn::parse(text).map_err(drop))
    {
        assert_eq!(Dn::parse(&dn.to_string()).unwrap().normalized(), dn.normalized());
    }
}

/// JSON lines. What was read is the same after it was written and read again.
pub fn jsonl(data: &[u8]) {
    let Some(read_first) = read(Format::Jsonl, data, |_| ()) else {
        return;
    };
    let written = lines(&read_first);
    let mut again = read(Format::Jsonl, written.as_bytes(), |_| ()).unwrap();
    assert_eq!(again.refused, 0, "{written}");
    // The lines that could not be read are gone.
    let mut before = read_first;
    before.refused = 0;
    for side in [&mut before, &mut again] {
        side.units.iter_mut().for_each(|unit| unit.line = 0);
        side.users.iter_mut().for_each(|user| user.line = 0);
        side.groups.iter_mut().for_each(|group| group.line = 0);
    }
    assert_eq!(before, again);
}

fn lines(contents: &Contents) -> String {
    let units = contents.units.iter().cloned().map(Entry::OrganizationalUnit);
    let users = contents
        .users
        .iter()
        .cloned()
        .map(|user| Entry::User(Box::new(user)));
    let groups = contents.groups.iter().cloned().map(Entry::Group);
    units
        .chain(users)
        .chain(groups)
        .map(|entry| serde_json::to_string(&entry).unwrap() + "\n")
        .collect()
}

/// Importing a file once more changes nothing, whatever the file and whatever was there; and a dry run before it says
/// what the import does. The directory stays as it is between inputs, for a while.
pub fn imports(data: &[u8]) {
    thread_local! {
        static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    }
    let (how, rest) = split(data);
    let (format, name) = [
        (Format::Csv, "x.csv"),
        (Format::Ldif, "x.ldif"),
        (Format::Jsonl, "x.jsonl"),
    ][usize::from(how % 3)];
    WORLD.with_borrow_mut(|kept| {
        let mut world = kept.take().unwrap_or_default();
        let file = world.folder.path().join(name);
        std::fs::write(&file, rest).unwrap();
        let mut options = Options::of(file, format);
        options.portion = 1 + usize::from(how / 3 % 8);
        options.owner = (how >= 128).then(|| "hr:main".parse().unwrap());
        let run = |dry_run| {
            let options = Options {
                dry_run,
                ..options.clone()
            };
            world.runtime.block_on(import(&world.hub, &options, |_, _| ()))
        };
        let Ok(planned) = run(true) else {
            assert!(run(false).is_err(), "the dry run failed, the import did not");
            *kept = Some(world);
            return;
        };
        let mut done = run(false).unwrap();
        done.dry_run = true;
        assert_eq!(planned, done, "the dry run said something else");
        let again = run(false).unwrap();
        for counts in [again.organizational_units, again.users, again.groups] {
            let Counts {
                created,
                updated,
                unchanged: _,
                deleted,
            } = counts;
            assert_eq!(
                (created, updated, deleted),
                (0, 0, 0),
                "first {done:#?}, then {again:#?}"
            );
        }
        assert_eq!((again.members_added, again.members_removed), (0, 0));
        world.changes += 1;
        if world.changes < 1_000 {
            *kept = Some(world);
        }
    });
}
