package postgres

import (
	"bytes"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
	"pgregory.net/rapid"
)

// Whatever a column holds: it is encoded as pgx encodes it.
func TestColumnsAreEncodedAsByPgx(t *testing.T) {
	t.Parallel()
	pgx, own := pgtype.NewMap(), columnTypes()
	number := rapid.Int64()
	text := rapid.OneOf(rapid.String(), rapid.Just(""))
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 5).Draw(t, "rows")
		for oid, column := range map[uint32]any{
			pgtype.TextArrayOID:  rapid.SliceOfN(text, n, n).Draw(t, "texts"),
			pgtype.ByteaArrayOID: rapid.SliceOfN(rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Just[[]byte](nil)), n, n).Draw(t, "bytes"),
			pgtype.Int8ArrayOID:  rapid.SliceOfN(number, n, n).Draw(t, "int64"),
			pgtype.Int4ArrayOID:  rapid.SliceOfN(rapid.Int32(), n, n).Draw(t, "int32"),
			pgtype.Int2ArrayOID:  rapid.SliceOfN(rapid.Int16(), n, n).Draw(t, "int16"),
		} {
			sameColumn(t, pgx, own, oid, column)
		}
		sameColumn(t, pgx, own, pgtype.TextArrayOID, rapid.SliceOfN(rapid.Ptr(text, true), n, n).Draw(t, "texts or NULL"))
		sameColumn(t, pgx, own, pgtype.Int4ArrayOID, rapid.SliceOfN(number, n, n).Draw(t, "too large, some of them"))
	})
	for oid, column := range map[uint32]any{
		pgtype.TextArrayOID: []string(nil), pgtype.ByteaArrayOID: [][]byte(nil), pgtype.Int8ArrayOID: []int64(nil), pgtype.Int4ArrayOID: []int32(nil), pgtype.Int2ArrayOID: []int16(nil),
	} {
		sameColumn(t, pgx, own, oid, column)
	}
}

func columnTypes() *pgtype.Map {
	types := pgtype.NewMap()
	encodeColumns(types)
	return types
}

func sameColumn(t rapid.TB, pgx, own *pgtype.Map, oid uint32, column any) {
	t.Helper()
	for _, format := range []int16{pgtype.BinaryFormatCode, pgtype.TextFormatCode} {
		want, wantErr := pgx.Encode(oid, format, column, []byte("before"))
		got, err := own.Encode(oid, format, column, []byte("before"))
		if !bytes.Equal(got, want) || (got == nil) != (want == nil) || (err == nil) != (wantErr == nil) {
			t.Errorf("%T %v is encoded as\n%q (%v), want\n%q (%v)", column, column, got, err, want, wantErr)
		}
	}
}

// TestColumnsTakeNoAllocationForEachElement fails also when pgx stops to ask the codecs.
func TestColumnsTakeNoAllocationForEachElement(t *testing.T) {
	own := columnTypes()
	room := make([]byte, 0, 1<<16)
	for oid, column := range map[uint32]any{
		pgtype.TextArrayOID: slices.Repeat([]string{"dlv_1"}, 100), pgtype.ByteaArrayOID: slices.Repeat([][]byte{{1}}, 100),
		pgtype.Int8ArrayOID: slices.Repeat([]int64{1e6}, 100), pgtype.Int4ArrayOID: slices.Repeat([]int32{1e6}, 100), pgtype.Int2ArrayOID: slices.Repeat([]int16{1e3}, 100),
	} {
		if n := testing.AllocsPerRun(10, func() { _, _ = own.Encode(oid, pgtype.BinaryFormatCode, column, room) }); n > 2 {
			t.Errorf("%T took %.0f allocations", column, n)
		}
	}
}

// What a batch sends fits into the room that was made for it, or the whole of it would be copied once more.
func TestRoomIsMadeForWholeColumns(t *testing.T) {
	t.Parallel()
	own := columnTypes()
	for oid, column := range map[uint32]any{
		pgtype.TextArrayOID: []string{"dlv_1", ""}, pgtype.ByteaArrayOID: [][]byte{{1, 2, 3}, nil}, pgtype.Int8ArrayOID: []int64{1, 2},
		pgtype.Int4ArrayOID: []int32{1, 2}, pgtype.Int2ArrayOID: []int16{1, 2},
	} {
		encoded, err := own.Encode(oid, pgtype.BinaryFormatCode, column, nil)
		if size := sizeOfColumn(column); err != nil || size != len(encoded) {
			t.Errorf("%T has room for %d bytes and takes %d (%v)", column, size, len(encoded), err)
		}
	}
	if sent, err := room(1000).Encode([]byte("before")); string(sent) != "before" || cap(sent) < 1006 || err != nil {
		t.Errorf("room for 1,000 behind 6 is %q with %d (%v)", sent, cap(sent), err)
	}
}

func BenchmarkColumn(b *testing.B) {
	column := make([]string, 100)
	for i := range column {
		column[i] = "dlv_01JZ8A2MV4N8S6D2K5X0R7T9QA"
	}
	for name, types := range map[string]*pgtype.Map{"pgx": pgtype.NewMap(), "own": columnTypes()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := types.Encode(pgtype.TextArrayOID, pgtype.BinaryFormatCode, column, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
