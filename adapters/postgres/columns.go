package postgres

import (
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"
)

// encodeColumns makes a connection encode column slices without allocating for each element, as pgx does by boxing it in an
// interface. The bytes are the same as pgx's.
func encodeColumns(types *pgtype.Map) {
	for oid, plan := range map[uint32]columnPlan{
		pgtype.TextArrayOID:  textColumn[string]{pgtype.TextOID},
		pgtype.ByteaArrayOID: textColumn[[]byte]{pgtype.ByteaOID},
		pgtype.Int8ArrayOID: numberColumn[int64]{pgtype.Int8OID, 8, func(to []byte, n int64) []byte {
			return binary.BigEndian.AppendUint64(to, uint64(n))
		}},
		pgtype.Int4ArrayOID: numberColumn[int32]{pgtype.Int4OID, 4, func(to []byte, n int32) []byte {
			return binary.BigEndian.AppendUint32(to, uint32(n))
		}},
		pgtype.Int2ArrayOID: numberColumn[int16]{pgtype.Int2OID, 2, func(to []byte, n int16) []byte {
			return binary.BigEndian.AppendUint16(to, uint16(n))
		}},
	} {
		if known, ok := types.TypeForOID(oid); ok {
			if codec, ok := known.Codec.(*pgtype.ArrayCodec); ok {
				types.RegisterType(&pgtype.Type{Name: known.Name, OID: oid, Codec: columnCodec{codec, plan}})
			}
		}
	}
}

// columnCodec encodes the slices of one type itself, and leaves everything else to the codec that it wraps.
type columnCodec struct {
	*pgtype.ArrayCodec
	plan columnPlan
}

type columnPlan interface {
	pgtype.EncodePlan
	takes(value any) bool
}

// PlanEncode implements pgtype.Codec.
func (c columnCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if format == pgtype.BinaryFormatCode && c.plan.takes(value) {
		return c.plan
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

// textColumn is a slice of texts. For byte slices, nil is NULL.
type textColumn[E string | []byte] struct{ element uint32 }

func (textColumn[E]) takes(value any) bool {
	_, ok := value.([]E)
	return ok
}

func (c textColumn[E]) Encode(value any, to []byte) ([]byte, error) {
	elements := value.([]E)
	if elements == nil {
		return nil, nil
	}
	to = beginColumn(to, len(elements), sizeOfTexts(elements), c.element, slices.ContainsFunc(elements, isNull))
	for _, e := range elements {
		if isNull(e) {
			to = binary.BigEndian.AppendUint32(to, nullLength)
			continue
		}
		to = append(binary.BigEndian.AppendUint32(to, uint32(len(e))), e...)
	}
	return to, nil
}

func sizeOfTexts[E string | []byte](elements []E) (size int) {
	for _, e := range elements {
		size += 4 + len(e)
	}
	return size
}

func isNull[E string | []byte](e E) bool {
	b, ok := any(e).([]byte)
	return ok && b == nil
}

// numberColumn is a slice of integers of a fixed size.
type numberColumn[E int16 | int32 | int64] struct {
	element uint32
	size    int
	add     func(to []byte, n E) []byte
}

func (numberColumn[E]) takes(value any) bool {
	_, ok := value.([]E)
	return ok
}

func (c numberColumn[E]) Encode(value any, to []byte) ([]byte, error) {
	elements := value.([]E)
	if elements == nil {
		return nil, nil
	}
	to = beginColumn(to, len(elements), len(elements)*(4+c.size), c.element, false)
	for _, e := range elements {
		to = c.add(binary.BigEndian.AppendUint32(to, uint32(c.size)), e)
	}
	return to, nil
}

const (
	columnHeader = 20         // bytes
	nullLength   = 0xFFFFFFFF // -1
)

// beginColumn appends the header of a one-dimensional array (src/backend/utils/adt/arrayfuncs.c, array_recv), and makes room for
// its elements.
func beginColumn(to []byte, n, size int, element uint32, nulls bool) []byte {
	if need := columnHeader + size; cap(to)-len(to) < need {
		to = slices.Grow(to, max(need, 2*cap(to))) // other columns follow
	}
	to = binary.BigEndian.AppendUint32(to, 1)
	flag := uint32(0)
	if nulls {
		flag = 1
	}
	to = binary.BigEndian.AppendUint32(to, flag)
	to = binary.BigEndian.AppendUint32(to, element)
	to = binary.BigEndian.AppendUint32(to, uint32(n))
	return binary.BigEndian.AppendUint32(to, 1) // the index of the first element
}
