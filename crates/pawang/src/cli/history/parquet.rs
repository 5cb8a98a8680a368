//! One Parquet file per collector; only in builds with feature `parquet`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{
    Compression, LogicalType, Repetition, TimeUnit, TimestampType, Type as Physical, ZstdLevel,
};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use pawang_core::{ColumnKind, Report, Snapshot, Value};

use super::export::{Form, LEADING, Shape, Sheet, refused, unfinished};

/// Rows that are held in memory before they are written.
const GROUP_ROWS_MAX: usize = 100_000;

/// A Parquet file in the making.
pub(super) struct Parquet {
    path: PathBuf,
    shape: Shape,
    forms: Vec<Form>,
    /// One list per column, the leading ones first.
    waiting: Vec<Vec<Value>>,
    writer: SerializedFileWriter<File>,
    rows: u64,
}

impl Parquet {
    /// Begins a file.
    pub(super) fn begin(path: &Path, shape: Shape) -> Result<Parquet, Report> {
        let wrong = |error: ParquetError| refused(path, &error);
        let own = shape.columns.iter().map(|(name, kind, form)| {
            let number = matches!(kind, ColumnKind::Counter | ColumnKind::Gauge);
            let empty = if number { Form::Float } else { Form::Text };
            (name.as_str(), form.unwrap_or(empty))
        });
        let leading = LEADING
            .into_iter()
            .zip([Form::Text, Form::Text, Form::Instant]);
        let columns: Vec<(&str, Form)> = leading.chain(own).collect();
        let fields = columns.iter().map(|(name, form)| field(name, *form));
        let fields = fields.collect::<Result<Vec<TypePtr>, _>>().map_err(wrong)?;
        let schema = Type::group_type_builder("snapshot").with_fields(fields);
        let schema = Arc::new(schema.build().map_err(wrong)?);
        let level = ZstdLevel::try_new(3).map_err(wrong)?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level));
        let file = File::create(unfinished(path)).map_err(|error| refused(path, &error))?;
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties.build()));
        Ok(Parquet {
            path: path.to_owned(),
            forms: columns.iter().map(|(_, form)| *form).collect(),
            waiting: vec![Vec::new(); columns.len()],
            shape,
            writer: writer.map_err(wrong)?,
            rows: 0,
        })
    }

    fn flush(&mut self) -> Result<(), Report> {
        if self.waiting[0].is_empty() {
            return Ok(());
        }
        let wrong = |error: ParquetError| refused(&self.path, &error);
        let mut group = self.writer.next_row_group().map_err(wrong)?;
        for (values, form) in self.waiting.iter_mut().zip(&self.forms) {
            write_column(&mut group, values, *form).map_err(wrong)?;
            values.clear();
        }
        group.close().map_err(wrong)?;
        Ok(())
    }
}

impl Sheet for Parquet {
    fn add(&mut self, instance: &str, snapshot: &Snapshot) -> Result<(), Report> {
        let places = self.shape.places(snapshot);
        for row in &snapshot.rows {
            let database = snapshot.database.as_deref();
            self.waiting[0].push(Value::Text(instance.into()));
            self.waiting[1].push(database.map_or(Value::Null, |name| Value::Text(name.into())));
            self.waiting[2].push(Value::Time(snapshot.at));
            for (values, place) in self.waiting.iter_mut().skip(LEADING.len()).zip(&places) {
                values.push(place.map_or(Value::Null, |place| row[place].clone()));
            }
            self.rows += 1;
            if self.waiting[0].len() >= GROUP_ROWS_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<u64, Report> {
        self.flush()?;
        let Parquet {
            path, writer, rows, ..
        } = *self;
        let file = writer
            .into_inner()
            .map_err(|error| refused(&path, &error))?;
        let done = file
            .sync_all()
            .and_then(|()| std::fs::rename(unfinished(&path), &path));
        done.map_err(|error| refused(&path, &error))?;
        Ok(rows)
    }
}

fn field(name: &str, form: Form) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match form {
        Form::Flag => (Physical::BOOLEAN, None),
        Form::Integer => (Physical::INT64, None),
        Form::Float => (Physical::DOUBLE, None),
        Form::Instant => {
            let unit = TimeUnit::MICROS;
            let instant = TimestampType {
                is_adjusted_to_u_t_c: true,
                unit,
            };
            let logical = LogicalType::Timestamp(instant);
            (Physical::INT64, Some(logical))
        }
        Form::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let field = Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical);
    Ok(Arc::new(field.build()?))
}

fn write_column(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[Value],
    form: Form,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Ok(());
    };
    macro_rules! write {
        ($kind:ty, $read:expr) => {{
            let read: fn(&Value) -> Option<<$kind as parquet::data_type::DataType>::T> = $read;
            let found: Vec<_> = values.iter().map(read).collect();
            let levels: Vec<i16> = found
                .iter()
                .map(|value| i16::from(value.is_some()))
                .collect();
            let found: Vec<_> = found.into_iter().flatten().collect();
            column
                .typed::<$kind>()
                .write_batch(&found, Some(&levels), None)?;
        }};
    }
    match form {
        Form::Flag => write!(BoolType, |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }),
        Form::Integer => write!(Int64Type, Value::as_int),
        Form::Float => write!(DoubleType, Value::as_float),
        Form::Instant => write!(Int64Type, |value| match value {
            Value::Time(at) => Some(at.as_microsecond()),
            _ => None,
        }),
        Form::Text => write!(ByteArrayType, |value| match value {
            Value::Null => None,
            value => Some(ByteArray::from(value.to_string().into_bytes())),
        }),
    }
    column.close()
}
