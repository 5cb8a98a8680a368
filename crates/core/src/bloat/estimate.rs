//! How many pages a table or B-tree index would have if it were rebuilt now, from statistics alone.
//!
//! The models follow `CREATE INDEX` and `VACUUM FULL` byte by byte: alignment, NULL bitmaps, short varlena headers,
//! fillfactor, posting lists. They read no page of the relation, and say so where statistics cannot decide.

/// Bytes of a page.
const PAGE: f64 = 8192.0;
/// Header of every page.
const PAGE_HEADER: f64 = 24.0;
/// A line pointer.
const ITEM_ID: f64 = 4.0;
/// Special space of a B-tree page.
const BTREE_SPECIAL: f64 = 16.0;
/// Fixed part of a heap tuple's header.
const HEAP_HEADER: f64 = 23.0;
/// Header of an index tuple.
const INDEX_HEADER: f64 = 8.0;
/// Header of an index tuple with NULLs: its bitmap has room for 32 columns.
const INDEX_HEADER_WITH_NULLS: f64 = 16.0;
/// A tuple identifier in a posting list.
const TID: f64 = 6.0;
/// Largest posting tuple that a sorted build makes: a tenth of a page, aligned down, minus its line pointer, aligned.
const POSTING_MAX: f64 = 808.0;
/// Fillfactor of inner B-tree pages; it cannot be changed.
const INNER_FILLFACTOR: f64 = 70.0;
/// Heap tuples per page at most.
const HEAP_TUPLES_MAX: f64 = 291.0;
/// Groups larger than this on average are treated as one size.
const LARGE_GROUP: f64 = 60.0;
/// Items larger than this make page boundaries matter: pages are then filled one by one.
const LARGE_ITEM: f64 = 150.0;
/// Pages that are filled one by one; the rest is taken to look alike.
const PAGES_SIMULATED: usize = 60;
/// From this skew on, the number of distinct values of a sample says little about small groups.
const SKEW_MAX: f64 = 6.0;
/// Groups smaller than this are small.
const SMALL_GROUP: f64 = 12.0;
/// How much groups of adjacent rows look alike: rows loaded with their parent.
const ADJACENT_ALIKE: f64 = 0.6;
/// Answers that lie further apart than this many points are no answer.
const SPREAD_MAX: f64 = 0.08;
/// Share by which a rebuild may come out larger or smaller than the model says: nineteen of twenty do not.
const MODEL_ERROR: f64 = 0.08;
/// Pages by which small relations may differ beyond that.
const PAGES_ERROR: f64 = 2.0;

/// How long the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// Always this many bytes.
    Fixed(f64),
    /// A varlena or C string.
    Variable {
        /// Mean bytes with header, as stored.
        mean: f64,
        /// Share of values per length modulo 8, when a sample of values could be measured.
        residues: Option<[f64; 8]>,
        /// Share of values that need an aligned 4-byte header.
        long_share: f64,
        /// Whether every sampled value has the same length.
        constant: bool,
    },
}

/// What the estimators need to know of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Column {
    /// How long its values are.
    pub length: Length,
    /// Alignment in bytes: 1, 2, 4 or 8.
    pub align: usize,
    /// Share of NULLs.
    pub null_share: f64,
    /// Number of distinct values in the whole table, NULL not counted; `None` when statistics are missing.
    pub distinct: Option<f64>,
    /// Number of values in the list of most common ones.
    pub common_count: f64,
    /// Share of rows that hold one of them.
    pub common_share: f64,
    /// How many times as common the first of the most common values is as the last.
    pub skew: f64,
    /// Physical against logical order, -1 to 1.
    pub correlation: f64,
}

/// What the estimator needs to know of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Heap {
    /// Live rows.
    pub rows: f64,
    /// Number of columns, dropped ones included.
    pub columns_total: usize,
    /// Whether a column was dropped: every rewritten tuple then has a NULL bitmap.
    pub dropped: bool,
    /// Percent.
    pub fillfactor: f64,
    /// Living columns in storage order.
    pub columns: Vec<Column>,
}

/// What the estimator needs to know of a B-tree index.
#[derive(Clone, Debug, PartialEq)]
pub struct Btree {
    /// Rows in the index.
    pub rows: f64,
    /// Rows in its table; more than `rows` for a partial index.
    pub table_rows: f64,
    /// Percent.
    pub fillfactor: f64,
    /// Whether equal keys share posting lists.
    pub deduplicates: bool,
    /// Rows that ANALYZE looked at.
    pub sample_rows: f64,
    /// Number of distinct combinations of all columns, when extended statistics know it.
    pub combinations: Option<f64>,
    /// All columns, those of INCLUDE too.
    pub columns: Vec<Column>,
}

/// An estimate.
#[derive(Clone, Debug, PartialEq)]
pub enum Estimate {
    /// Pages after a rebuild.
    Pages(Pages),
    /// Statistics cannot decide; the reason, and how far the answers lie apart where there are any.
    NotEstimable(&'static str, Option<Pages>),
}

/// Pages after a rebuild: how many, and between which bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pages {
    /// At least.
    pub least: f64,
    /// Most likely.
    pub likely: f64,
    /// At most.
    pub most: f64,
}

impl Pages {
    /// Returns the bounds around what statistics allow, with the error of the model itself on both sides.
    fn between(low: f64, high: f64) -> Pages {
        Pages {
            least: (low * (1.0 - MODEL_ERROR) - PAGES_ERROR).max(1.0).floor(),
            likely: f64::midpoint(low, high).ceil(),
            most: (high * (1.0 + MODEL_ERROR) + PAGES_ERROR).ceil(),
        }
    }
}

/// Returns the pages that `VACUUM FULL` would leave.
pub fn heap_pages(heap: &Heap) -> Pages {
    let mut layout = Layout::new();
    let mut no_nulls = 1.0;
    let mut steady = true;
    for column in &heap.columns {
        layout.add(column);
        no_nulls *= 1.0 - column.null_share;
        steady &= column.steady();
    }
    let bitmap = align_up(HEAP_HEADER + (heap.columns_total as f64 / 8.0).ceil(), 8.0);
    let plain = align_up(HEAP_HEADER, 8.0);
    let with_bitmap = if heap.dropped { 1.0 } else { 1.0 - no_nulls };
    let tuple = layout.aligned() + plain + (bitmap - plain) * with_bitmap + ITEM_ID;
    let reserve = (PAGE * (100.0 - heap.fillfactor) / 100.0).floor();
    let usable = PAGE - PAGE_HEADER - reserve;
    let per_page = tuples_per_page(usable, tuple, steady).min(HEAP_TUPLES_MAX);
    let pages = (heap.rows / per_page).ceil();
    Pages::between(pages, pages)
}

/// Returns the pages that `REINDEX` would leave.
pub fn btree_pages(index: &Btree) -> Estimate {
    let tuple = IndexTuple::of(&index.columns);
    if !index.deduplicates {
        let content = Content::plain(index.rows, &tuple);
        let pages = pages_of(&content, &tuple, index.fillfactor);
        return Estimate::Pages(Pages::between(pages, pages));
    }
    let Some((few, many)) = groups(index) else {
        return Estimate::NotEstimable("a column has no statistics: ANALYZE the table", None);
    };
    if index.columns.len() == 1 && few.is_hidden_by_skew(&index.columns[0]) {
        return Estimate::NotEstimable(
            "the values are so skewed that the number of distinct ones in the statistics cannot be trusted: raise the statistics target",
            None,
        );
    }
    let tuple = match index.columns.as_slice() {
        // NULLs are a group of their own: what a value takes is not the mean of both.
        [column] => IndexTuple::of(&[Column {
            null_share: 0.0,
            ..*column
        }]),
        _ => tuple,
    };
    let size = |groups: Groups| leaf_and_inner_pages(&groups, &tuple, index.fillfactor);
    let (low, high) = (size(few), size(many));
    let (low, high) = (low.min(high), low.max(high));
    let pages = Pages::between(low, high);
    if (high - low) / high > SPREAD_MAX {
        let reason = if index.rows < 0.99 * index.table_rows {
            "how the values of a partial index repeat is not in the statistics"
        } else {
            "how many combinations of the columns exist is not in the statistics: CREATE STATISTICS (ndistinct)"
        };
        return Estimate::NotEstimable(reason, Some(pages));
    }
    Estimate::Pages(pages)
}

impl Column {
    /// Returns whether the column takes the same space in every row.
    fn steady(&self) -> bool {
        let length = match self.length {
            Length::Fixed(_) => true,
            Length::Variable { constant, .. } => constant,
        };
        length && (self.null_share == 0.0 || self.null_share == 1.0)
    }
}

/// Expected length of a row's data, and how likely it ends at each offset modulo 8.
#[derive(Clone, Copy)]
struct Layout {
    mean: f64,
    ends: [f64; 8],
}

impl Layout {
    fn new() -> Layout {
        let mut ends = [0.0; 8];
        ends[0] = 1.0;
        Layout { mean: 0.0, ends }
    }

    fn add(&mut self, column: &Column) {
        let mut with = *self;
        match column.length {
            Length::Fixed(bytes) => {
                with.align(column.align);
                with.grow(bytes, Some(residue_of(bytes)));
            }
            Length::Variable {
                mean,
                residues,
                long_share,
                ..
            } => {
                let mut long = with;
                long.align(column.align);
                with.mix(&long, long_share);
                with.grow(mean, residues);
            }
        }
        self.mix(&with, 1.0 - column.null_share);
    }

    fn align(&mut self, to: usize) {
        let mut ends = [0.0; 8];
        for (offset, share) in self.ends.iter().enumerate() {
            let padded = offset.next_multiple_of(to);
            self.mean += share * (padded - offset) as f64;
            ends[padded % 8] += share;
        }
        self.ends = ends;
    }

    fn grow(&mut self, bytes: f64, residues: Option<[f64; 8]>) {
        self.mean += bytes;
        let Some(residues) = residues else {
            self.ends = [0.125; 8];
            return;
        };
        let mut ends = [0.0; 8];
        for (offset, share) in self.ends.iter().enumerate() {
            for (more, likely) in residues.iter().enumerate() {
                ends[(offset + more) % 8] += share * likely;
            }
        }
        self.ends = ends;
    }

    /// Becomes a mixture: `share` of `other`, the rest of itself.
    fn mix(&mut self, other: &Layout, share: f64) {
        self.mean = self.mean * (1.0 - share) + other.mean * share;
        for (own, others) in self.ends.iter_mut().zip(other.ends) {
            *own = *own * (1.0 - share) + others * share;
        }
    }

    /// Returns the expected length after alignment to 8 bytes.
    fn aligned(mut self) -> f64 {
        self.align(8);
        self.mean
    }
}

fn residue_of(bytes: f64) -> [f64; 8] {
    let mut residues = [0.0; 8];
    residues[bytes as usize % 8] = 1.0;
    residues
}

/// The expected plain tuple of an index.
struct IndexTuple {
    /// Bytes without line pointer.
    bytes: f64,
    /// Whether all tuples have the same size.
    steady: bool,
}

impl IndexTuple {
    fn of(columns: &[Column]) -> IndexTuple {
        let mut layout = Layout::new();
        let mut no_nulls = 1.0;
        for column in columns {
            layout.add(column);
            no_nulls *= 1.0 - column.null_share;
        }
        let header = INDEX_HEADER * no_nulls + INDEX_HEADER_WITH_NULLS * (1.0 - no_nulls);
        IndexTuple {
            bytes: header + layout.aligned(),
            steady: columns.iter().all(Column::steady),
        }
    }
}

/// How the rows of an index fall into groups of equal keys.
#[derive(Clone, Copy, Debug)]
struct Groups {
    /// Rows without a value, in an index of one column.
    null_rows: f64,
    /// Rows in large groups: most common values.
    common_rows: f64,
    /// How many large groups there are.
    common_groups: f64,
    /// Rows in all other groups.
    other_rows: f64,
    /// How many other groups there are when their sizes are random.
    other_groups: f64,
    /// How many other groups there are when their sizes are alike.
    alike_groups: f64,
    /// How much the groups look as if their sizes were all alike (1) instead of random (0).
    alike: f64,
}

impl Groups {
    /// Returns the number of other groups, 0 when they hold no rows.
    fn other_groups_or_none(&self) -> f64 {
        if self.other_rows >= 1.0 {
            self.other_groups
        } else {
            0.0
        }
    }

    /// Returns whether groups are small and so uneven that a sample misjudges how many there are.
    fn is_hidden_by_skew(&self, column: &Column) -> bool {
        column.skew > SKEW_MAX
            && self.other_rows > 0.3 * (self.other_rows + self.common_rows + self.null_rows)
            && self.other_rows / self.other_groups < SMALL_GROUP
            && self.other_rows / self.other_groups > 1.05
    }
}

/// Returns the fewest and the most groups that the statistics allow.
fn groups(index: &Btree) -> Option<(Groups, Groups)> {
    let rows = index.rows;
    let share = (rows / index.table_rows.max(1.0)).min(1.0);
    if let [column] = index.columns.as_slice() {
        let whole = column.distinct?;
        let (few, many) = part_of(whole, index.table_rows, share);
        return Some((single(index, column, few), single(index, column, many)));
    }
    let mut least = 1.0_f64;
    let mut product = 1.0_f64;
    for column in &index.columns {
        let nulls = if column.null_share > 0.0 { 1.0 } else { 0.0 };
        let sampled = (index.sample_rows / index.table_rows.max(1.0)).min(1.0);
        let distinct = random_groups(column.distinct?, index.table_rows, sampled) + nulls;
        least = least.max(distinct);
        product = (product * distinct).min(1e18);
    }
    let independent = expected_distinct(product, index.table_rows);
    let (least, most) = match index.combinations {
        Some(known) => (known, known),
        None => (
            least.min(index.table_rows),
            independent.max(least.min(index.table_rows)),
        ),
    };
    let (few, _) = part_of(least, index.table_rows, share);
    let (_, many) = part_of(most, index.table_rows, share);
    let even = |groups: f64| Groups {
        null_rows: 0.0,
        common_rows: 0.0,
        common_groups: 0.0,
        other_rows: rows,
        other_groups: groups.clamp(1.0, rows.max(1.0)),
        alike_groups: groups.clamp(1.0, rows.max(1.0)),
        alike: 0.0,
    };
    Some((even(few), even(many)))
}

/// Returns how many of `distinct` values a part of the table holds: at least when it follows the key, at most when random.
fn part_of(distinct: f64, rows: f64, share: f64) -> (f64, f64) {
    if share > 0.99 {
        return (distinct, distinct);
    }
    let per_value = (rows / distinct.max(1.0)).max(1.0);
    let random = distinct * (1.0 - (1.0 - share).powf(per_value));
    ((distinct * share).max(1.0), random.max(1.0))
}

/// Returns how many of `possible` values `rows` random draws hit.
fn expected_distinct(possible: f64, rows: f64) -> f64 {
    possible * -(-rows / possible).exp_m1()
}

/// Returns the groups of a one-column index; `distinct` is the statistics' number scaled to the index.
fn single(index: &Btree, column: &Column, distinct: f64) -> Groups {
    let rows = index.rows;
    let nulls = rows * column.null_share;
    let common_rows = rows * column.common_share;
    let common_groups = column.common_count.min(distinct);
    let other_rows = (rows - nulls - common_rows).max(0.0);
    let alike_groups = (distinct - common_groups).clamp(0.0, other_rows).max(1.0);
    let sampled = (index.sample_rows / index.table_rows.max(1.0)).min(1.0);
    Groups {
        null_rows: nulls,
        common_rows,
        common_groups,
        other_rows,
        other_groups: random_groups(alike_groups, other_rows, sampled),
        alike_groups,
        alike: if column.correlation.abs() > 0.95 {
            ADJACENT_ALIKE
        } else {
            0.0
        },
    }
}

/// Returns how many groups there really are when ANALYZE, which takes all groups to be of one size (the Duj1
/// estimator of Haas and Stokes), says `estimated`, and their sizes are random instead.
fn random_groups(estimated: f64, rows: f64, sampled: f64) -> f64 {
    let told = estimated / rows.max(1.0);
    if !(0.0..1.0).contains(&told) || sampled >= 1.0 {
        return estimated;
    }
    let expected = |rate: f64| {
        let unseen = (-rate * sampled).exp();
        (1.0 - unseen) / (rate * (1.0 - unseen * (1.0 - sampled)))
    };
    let (mut low, mut high) = (1e-6, 2.0 / told);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if expected(middle) > told {
            low = middle;
        } else {
            high = middle;
        }
    }
    (rows * -(-low).exp_m1() / low).clamp(1.0, rows.max(1.0))
}

/// What fills the leaf pages.
#[derive(Clone, Copy, Debug, Default)]
struct Content {
    items: f64,
    bytes: f64,
    /// Bytes of posting lists, without the keys they follow.
    posting_bytes: f64,
    steady: bool,
}

impl Content {
    fn plain(rows: f64, tuple: &IndexTuple) -> Content {
        Content {
            items: rows,
            bytes: rows * (tuple.bytes + ITEM_ID),
            posting_bytes: 0.0,
            steady: tuple.steady,
        }
    }

    fn grouped(groups: &Groups, tuple: &IndexTuple) -> Content {
        let mut content = Content::default();
        if groups.common_groups > 0.0 {
            let size = groups.common_rows / groups.common_groups;
            content.add_alike(groups.common_groups, size, tuple);
        }
        if groups.other_rows > 0.0 {
            let alike = groups.alike_groups;
            content.add_alike(alike * groups.alike, groups.other_rows / alike, tuple);
            let random = groups.other_groups;
            content.add_random(
                random * (1.0 - groups.alike),
                groups.other_rows / random,
                tuple,
            );
        }
        content
    }

    /// Returns what rows without a value fill: they are all alike.
    fn nulls(rows: f64) -> Content {
        let mut content = Content::default();
        if rows >= 1.0 {
            let tuple = IndexTuple {
                bytes: INDEX_HEADER_WITH_NULLS,
                steady: true,
            };
            content.add_alike(1.0, rows, &tuple);
        }
        content
    }

    /// Returns both together.
    fn and(&self, other: &Content) -> Content {
        Content {
            items: self.items + other.items,
            bytes: self.bytes + other.bytes,
            posting_bytes: self.posting_bytes + other.posting_bytes,
            steady: self.steady && other.steady,
        }
    }

    /// Adds `count` groups of `size` rows on average, as a Poisson distribution of which nobody sees the empty ones.
    fn add_random(&mut self, count: f64, size: f64, tuple: &IndexTuple) {
        let size = size.max(1.0);
        if size > LARGE_GROUP {
            self.add_alike(count, size, tuple);
            return;
        }
        let rate = rate_of_mean(size);
        if rate < 1e-6 {
            self.add_group(count, 1.0, tuple);
            return;
        }
        let mut likely = rate * (-rate).exp() / -(-rate).exp_m1();
        let last = (size + 10.0 * size.sqrt() + 10.0) as u32;
        for rows in 1..=last {
            self.add_group(count * likely, f64::from(rows), tuple);
            likely *= rate / f64::from(rows + 1);
        }
    }

    /// Adds groups whose sizes are the two whole numbers around `size`.
    fn add_alike(&mut self, count: f64, size: f64, tuple: &IndexTuple) {
        let size = size.max(1.0);
        let above = size.fract();
        self.add_group(count * (1.0 - above), size.floor(), tuple);
        if above > 0.0 {
            self.add_group(count * above, size.floor() + 1.0, tuple);
        }
    }

    fn add_group(&mut self, count: f64, rows: f64, tuple: &IndexTuple) {
        let base = tuple.bytes;
        let most = ((POSTING_MAX - base) / TID).floor().max(1.0);
        let full = (rows / most).floor();
        let rest = rows - full * most;
        if full > 0.0 {
            self.add_items(count * full, base, most * TID);
        }
        if rest >= 1.0 {
            let list = if rest > 1.0 { rest * TID } else { 0.0 };
            self.add_items(count, base, list);
        }
    }

    fn add_items(&mut self, count: f64, base: f64, list: f64) {
        let list = align_up(list, 8.0);
        self.items += count;
        self.bytes += count * (base + list + ITEM_ID);
        self.posting_bytes += count * list;
    }
}

/// Returns all pages of an index with that content on its leaves.
fn pages_of(content: &Content, tuple: &IndexTuple, fillfactor: f64) -> f64 {
    if content.items < 1.0 {
        return 1.0;
    }
    let item = content.bytes / content.items;
    let list = content.posting_bytes / content.items;
    // The line pointer of the high key is taken from the start, and free space counts one for the next item.
    let free = PAGE - PAGE_HEADER - BTREE_SPECIAL - 2.0 * ITEM_ID;
    let reserve = (PAGE * (100.0 - fillfactor) / 100.0).floor();
    // The last item becomes the high key without its posting list, which is credited to the page.
    let per_page = tuples_per_page(free - reserve + list, item, content.steady);
    with_inner_pages((content.items / per_page).ceil(), tuple)
}

/// Returns all pages of an index whose equal keys share posting lists.
fn leaf_and_inner_pages(groups: &Groups, tuple: &IndexTuple, fillfactor: f64) -> f64 {
    let content = Content::grouped(groups, tuple);
    let nulls = Content::nulls(groups.null_rows);
    if content.bytes / content.items.max(1.0) <= LARGE_ITEM {
        return pages_of(&content.and(&nulls), tuple, fillfactor);
    }
    let rows = groups.common_rows + groups.other_rows;
    let per_page = |noise: f64| simulate(groups, tuple, fillfactor, rows, noise);
    // How much the sizes of groups differ is not in the statistics: between not at all and as chance has it.
    let per_page = f64::midpoint(per_page(0.0), per_page(1.0));
    let of_nulls = nulls.bytes / (PAGE * fillfactor / 100.0);
    with_inner_pages((rows / per_page + of_nulls).ceil(), tuple)
}

/// Fills leaf pages with large items one by one, as a sorted build does, and returns the rows per page.
fn simulate(
    groups: &Groups,
    tuple: &IndexTuple,
    fillfactor: f64,
    rows_all: f64,
    noise: f64,
) -> f64 {
    let mut sizes = GroupSizes::new(groups, noise);
    let mut page = LeafPage::new(fillfactor);
    let (mut pages, mut placed) = (1_usize, 0.0);
    let most = ((POSTING_MAX - tuple.bytes) / TID).floor().max(1.0);
    while pages <= PAGES_SIMULATED && placed < rows_all {
        let mut rows = sizes.next_size();
        while rows >= 1.0 && pages <= PAGES_SIMULATED {
            let taken = rows.min(most);
            let list = if taken > 1.0 {
                align_up(taken * TID, 8.0)
            } else {
                0.0
            };
            if page.add(tuple.bytes + list, list) {
                pages += 1;
            }
            placed += taken;
            rows -= taken;
        }
    }
    placed / (pages as f64 - 1.0 + page.share()).max(0.01)
}

/// A leaf page of a sorted build.
struct LeafPage {
    start: f64,
    reserve: f64,
    free: f64,
    last_item: f64,
    last_list: f64,
}

impl LeafPage {
    fn new(fillfactor: f64) -> LeafPage {
        let start = PAGE - PAGE_HEADER - BTREE_SPECIAL - 2.0 * ITEM_ID;
        LeafPage {
            start,
            reserve: (PAGE * (100.0 - fillfactor) / 100.0).floor(),
            free: start,
            last_item: 0.0,
            last_list: 0.0,
        }
    }

    /// Adds an item; returns whether a new page was begun, with the last item of the old one on it.
    fn add(&mut self, item: f64, list: f64) -> bool {
        let full = self.free < item + 8.0 || self.free + self.last_list < self.reserve;
        if full {
            self.free = self.start - self.last_item;
        }
        self.free -= item + ITEM_ID;
        self.last_item = item + ITEM_ID;
        self.last_list = list;
        full
    }

    /// Returns how full the page is, as a share of a full one.
    fn share(&self) -> f64 {
        (self.start - self.free) / (self.start - self.reserve)
    }
}

/// Yields sizes of groups in the proportions of [`Groups`], reproducibly.
struct GroupSizes<'a> {
    groups: &'a Groups,
    /// How much sizes differ: 0 not at all, 1 as chance has it.
    noise: f64,
    state: u64,
}

impl GroupSizes<'_> {
    fn new(groups: &Groups, noise: f64) -> GroupSizes<'_> {
        GroupSizes {
            groups,
            noise,
            state: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Returns the next number between 0 and 1 (Knuth's multiplier).
    fn draw(&mut self) -> f64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn next_size(&mut self) -> f64 {
        let groups = self.groups;
        let common = groups.common_groups / (groups.common_groups + groups.other_groups_or_none());
        let mean = if self.draw() < common {
            groups.common_rows / groups.common_groups
        } else {
            groups.other_rows / groups.other_groups
        };
        // The spread of a Poisson distribution, by the sum of three even ones.
        let noise = (self.draw() + self.draw() + self.draw() - 1.5) * 2.0 * self.noise;
        // A group has one row at least, so that those of one on average have no spread; rounding by chance keeps the mean.
        let size = mean + noise * (mean - 1.0).max(0.0).sqrt();
        (size + self.draw()).floor().max(1.0)
    }
}

/// Adds the meta page and the inner pages above that many leaves.
fn with_inner_pages(leaves: f64, tuple: &IndexTuple) -> f64 {
    let free = PAGE - PAGE_HEADER - BTREE_SPECIAL - 2.0 * ITEM_ID;
    let inner_reserve = (PAGE * (100.0 - INNER_FILLFACTOR) / 100.0).floor();
    let pivot = tuple.bytes + ITEM_ID;
    let fanout = tuples_per_page(free - inner_reserve, pivot, tuple.steady).max(2.0);
    let mut pages = 1.0 + leaves;
    let mut level = leaves;
    while level > 1.0 {
        level = (level / fanout).ceil();
        pages += level;
    }
    pages
}

/// Returns how many items of that size fit; where sizes vary, half an item is lost at the end of each page.
fn tuples_per_page(usable: f64, item: f64, steady: bool) -> f64 {
    if steady {
        (usable / item).floor().max(1.0)
    } else {
        ((usable - item / 2.0) / item).max(1.0)
    }
}

/// Returns the rate of the Poisson distribution whose non-empty part has this mean.
fn rate_of_mean(mean: f64) -> f64 {
    let (mut low, mut high) = (0.0, mean);
    for _ in 0..60 {
        let middle: f64 = (low + high) / 2.0;
        let zero_truncated = if middle < 1e-9 {
            1.0
        } else {
            middle / -(-middle).exp_m1()
        };
        if zero_truncated < mean {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

fn align_up(bytes: f64, to: f64) -> f64 {
    (bytes / to).ceil() * to
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(bytes: f64, align: usize, distinct: f64) -> Column {
        Column {
            length: Length::Fixed(bytes),
            align,
            null_share: 0.0,
            distinct: Some(distinct),
            common_count: 0.0,
            common_share: 0.0,
            skew: 1.0,
            correlation: 0.0,
        }
    }

    fn btree(rows: f64, distinct: f64, deduplicates: bool) -> Btree {
        Btree {
            rows,
            table_rows: rows,
            fillfactor: 90.0,
            deduplicates,
            sample_rows: 30_000.0,
            combinations: None,
            columns: vec![column(8.0, 8, distinct)],
        }
    }

    fn pages(index: &Btree) -> f64 {
        match btree_pages(index) {
            Estimate::Pages(pages) => {
                assert!(
                    pages.least <= pages.likely && pages.likely <= pages.most,
                    "{pages:?}"
                );
                pages.likely
            }
            Estimate::NotEstimable(reason, _) => panic!("{reason}"),
        }
    }

    #[test]
    fn sizes_that_the_server_is_known_to_make() {
        let heap = Heap {
            rows: 1e6,
            columns_total: 2,
            dropped: false,
            fillfactor: 100.0,
            columns: vec![column(4.0, 4, 1e6), column(4.0, 4, 1e6)],
        };
        assert_eq!(heap_pages(&heap).likely, 4425.0);
        assert_eq!(pages(&btree(1e6, 1e6, false)), 2745.0);
    }

    #[test]
    fn a_single_value_costs_little_more_than_its_row_numbers() {
        let per_row = pages(&btree(1e6, 1.0, true)) * 8192.0 / 1e6;
        assert!((6.0..7.2).contains(&per_row), "{per_row}");
    }

    #[test]
    fn nobody_guesses_how_many_combinations_there_are() {
        let mut index = btree(120_000.0, 3000.0, true);
        index.columns.push(column(4.0, 4, 100.0));
        assert!(matches!(
            btree_pages(&index),
            Estimate::NotEstimable(_, Some(_))
        ));
        index.combinations = Some(98_000.0);
        assert!(matches!(btree_pages(&index), Estimate::Pages(_)));
    }

    proptest! {
        #[test]
        fn more_rows_never_need_fewer_pages(rows in 1_000.0..1e8_f64, share in 0.001..1.0_f64, more in 1.1..3.0_f64) {
            let small = pages(&btree(rows, rows * share, true));
            let large = pages(&btree(rows * more, rows * more * share, true));
            prop_assert!(large * 1.02 >= small, "{small} {large}");
        }

        #[test]
        fn deduplication_never_costs_pages(rows in 1_000.0..1e8_f64, share in 0.0001..1.0_f64) {
            let with = pages(&btree(rows, (rows * share).max(1.0), true));
            let without = pages(&btree(rows, rows * share, false));
            prop_assert!(with <= without * 1.02 + 1.0, "{with} {without}");
        }
    }
}
