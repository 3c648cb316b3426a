//! The tables of the file, and what is done to them in one transaction.
//!
//! `verdicts` has, under each key, the number under which `order` has the key, and the record. The
//! numbers go up, so the first of `order` is the oldest. Numbers are not sealed: who changes them
//! can have verdicts forgotten.

use redb::{
    CommitError, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageError, Table, TableDefinition, TableError, TransactionError,
};

use crate::record::KEY_BYTES;

const VERDICTS: TableDefinition<'static, &[u8; KEY_BYTES], &[u8]> =
    TableDefinition::new("verdicts");
const ORDER: TableDefinition<'static, u64, &[u8; KEY_BYTES]> = TableDefinition::new("order");

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Its bytes make no sense; a new one would be better.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// The system failed; the file may be good.
    #[error("{0}")]
    Failed(String),
    #[error("another process has it")]
    InUse,
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(_) => Self::Damaged(error.to_string()),
            // That it ends too early, or is no database.
            StorageError::Io(cause)
                if matches!(
                    cause.kind(),
                    std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::Damaged(cause.to_string())
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Self::InUse,
            DatabaseError::Storage(cause) => cause.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TableError> for Trouble {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(cause) => cause.into(),
            // Somebody else's tables.
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TransactionError> for Trouble {
    fn from(error: TransactionError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<CommitError> for Trouble {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(cause) => cause.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Makes the tables where they are not there.
pub(super) fn begin(database: &Database) -> Result<(), Trouble> {
    let transaction = database.begin_write()?;
    transaction.open_table(VERDICTS)?;
    transaction.open_table(ORDER)?;
    Ok(transaction.commit()?)
}

/// The record under `key`.
pub(super) fn get(database: &Database, key: &[u8; KEY_BYTES]) -> Result<Option<Vec<u8>>, Trouble> {
    let transaction = database.begin_read()?;
    let verdicts = transaction.open_table(VERDICTS)?;
    let value = verdicts.get(key)?;
    // What is too short to have a number has an empty record, which does not verify.
    Ok(value.map(|value| number_and_record(value.value()).1.to_vec()))
}

fn number_and_record(value: &[u8]) -> (Option<u64>, &[u8]) {
    match value.split_first_chunk() {
        Some((number, record)) => (Some(u64::from_le_bytes(*number)), record),
        None => (None, &[]),
    }
}

/// Writes a batch, and removes the oldest verdicts beyond `most`. Tells how many were removed.
pub(super) fn put(
    database: &Database,
    batch: &[([u8; KEY_BYTES], Vec<u8>)],
    most: u64,
) -> Result<u64, Trouble> {
    let transaction = database.begin_write()?;
    let removed = {
        let mut verdicts = transaction.open_table(VERDICTS)?;
        let mut order = transaction.open_table(ORDER)?;
        let last = order.last()?.map(|(number, _)| number.value());
        let mut next = last.map_or(0, |last| last.saturating_add(1));
        for (key, record) in batch {
            let before = verdicts.get(key)?;
            let before = before.and_then(|value| number_and_record(value.value()).0);
            let number = before.unwrap_or(next);
            if before.is_none() {
                order.insert(number, key)?;
                next = next.saturating_add(1);
            }
            let value = [number.to_le_bytes().as_slice(), record].concat();
            verdicts.insert(key, value.as_slice())?;
        }
        remove_oldest(&mut verdicts, &mut order, most)?
    };
    transaction.commit()?;
    Ok(removed)
}

fn remove_oldest(
    verdicts: &mut Table<'_, &'static [u8; KEY_BYTES], &'static [u8]>,
    order: &mut Table<'_, u64, &'static [u8; KEY_BYTES]>,
    most: u64,
) -> Result<u64, Trouble> {
    let mut removed = 0;
    while verdicts.len()? > most {
        let oldest = order.pop_first()?.map(|(_, key)| *key.value());
        let gone = match oldest {
            Some(key) => verdicts.remove(&key)?.is_some(),
            // The order was tampered with: the bound is kept all the same.
            None => verdicts.pop_first()?.is_some(),
        };
        removed += u64::from(gone);
    }
    Ok(removed)
}

/// Removes at most `most` verdicts of other rule sets than `rules`. Tells how many it were.
pub(super) fn remove_others(
    database: &Database,
    rules: &[u8; 32],
    most: usize,
) -> Result<u64, Trouble> {
    let edge = |rest: u8| {
        let mut key = [rest; KEY_BYTES];
        for (to, from) in key.iter_mut().zip(rules) {
            *to = *from;
        }
        key
    };
    let (first, last) = (edge(0), edge(0xff));
    let others: Vec<([u8; KEY_BYTES], Option<u64>)> = {
        let transaction = database.begin_read()?;
        let verdicts = transaction.open_table(VERDICTS)?;
        let below = verdicts.range::<&[u8; KEY_BYTES]>(..&first)?;
        let above = verdicts.range::<&[u8; KEY_BYTES]>((
            std::ops::Bound::Excluded(&last),
            std::ops::Bound::Unbounded,
        ))?;
        let entries = below.chain(above).take(most).map(|entry| {
            let (key, value) = entry?;
            Ok((*key.value(), number_and_record(value.value()).0))
        });
        entries.collect::<Result<_, StorageError>>()?
    };
    if others.is_empty() {
        return Ok(0);
    }
    let transaction = database.begin_write()?;
    {
        let mut verdicts = transaction.open_table(VERDICTS)?;
        let mut order = transaction.open_table(ORDER)?;
        for (key, number) in &others {
            verdicts.remove(key)?;
            if let Some(number) = number {
                order.remove(number)?;
            }
        }
    }
    transaction.commit()?;
    Ok(others.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(database: &Database) -> (u64, u64) {
        let transaction = database.begin_read().expect("a reader");
        let verdicts = transaction.open_table(VERDICTS).expect("a table");
        let order = transaction.open_table(ORDER).expect("a table");
        (verdicts.len().expect("told"), order.len().expect("told"))
    }

    #[test]
    fn every_verdict_has_one_place_in_the_order_and_no_place_is_left_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::create(folder.path().join("verdicts")).expect("a file");
        begin(&database).expect("begun");
        let batch = |rules: u8| -> Vec<_> {
            let key = |number| {
                let mut key = [rules; KEY_BYTES];
                key[KEY_BYTES - 1] = number;
                key
            };
            (0..100).map(|number| (key(number), vec![7])).collect()
        };
        for rules in [1, 2, 1, 3] {
            put(&database, &batch(rules), 250).expect("written");
        }
        assert_eq!(lengths(&database), (250, 250));
        while remove_others(&database, &[2; 32], 30).expect("removed") > 0 {}
        assert_eq!(lengths(&database), (100, 100));
        // The order is gone: the bound holds all the same.
        let transaction = database.begin_write().expect("a writer");
        transaction.delete_table(ORDER).expect("deleted");
        transaction.commit().expect("written");
        assert_eq!(put(&database, &batch(4), 50).expect("written"), 150);
        assert_eq!(lengths(&database).0, 50);
    }
}
