package positions

import (
	"fmt"
	"strconv"
)

// append writes the lines of one row.
func (r *Row) append(b []byte) []byte {
	b = append(b, "ledger\t"...)
	b = strconv.AppendInt(b, r.Updated, 10)
	b = appendFields(b, r.Source, r.Target)
	b = appendNumbers(b, r.Read, r.Delivered, r.Filtered)
	for _, x := range r.Refused {
		b = append(b, "refused"...)
		b = appendFields(b, r.Source, r.Target, x.Reason)
		b = appendNumbers(b, x.Records)
	}
	for _, x := range r.Lost {
		b = append(b, "lost"...)
		b = appendFields(b, r.Source, r.Target, x.Reason)
		b = appendNumbers(b, x.Records, x.Bytes, x.Gaps, x.Unsized)
	}
	return b
}

// appendNumbers ends a line.
func appendNumbers(b []byte, numbers ...int64) []byte {
	for _, n := range numbers {
		b = append(b, '\t')
		b = strconv.AppendInt(b, n, 10)
	}
	return append(b, '\n')
}

// decodeLedger takes in a line of the ledger.
func (c *contents) decodeLedger(f []string) error {
	want, ok := map[string]int{"ledger": 7, "refused": 5, "lost": 8}[f[0]]
	if !ok {
		return fmt.Errorf("unknown kind of line %q", f[0])
	}
	if len(f) != want {
		return fmt.Errorf("%d fields, want %d", len(f), want)
	}
	if f[0] == "ledger" {
		n, err := numbers(f[1], f[4], f[5], f[6])
		if err != nil {
			return err
		}
		c.rows = append(c.rows, Row{Pair{f[2], f[3]}, Counts{Read: n[1], Delivered: n[2], Filtered: n[3]}, n[0]})
		return nil
	}
	pair := Pair{f[1], f[2]}
	if len(c.rows) == 0 || c.rows[len(c.rows)-1].Pair != pair {
		return fmt.Errorf("%s of %s and %s is not behind their line", f[0], pair.Source, pair.Target)
	}
	row := &c.rows[len(c.rows)-1]
	n, err := numbers(f[4:]...)
	if err != nil {
		return err
	}
	if f[0] == "refused" {
		row.AddRefused(Refused{f[3], n[0]})
	} else {
		row.AddLost(Lost{f[3], n[0], n[1], n[2], n[3]})
	}
	return nil
}

func numbers(fields ...string) ([]int64, error) {
	list := make([]int64, len(fields))
	for i, f := range fields {
		var err error
		if list[i], err = strconv.ParseInt(f, 10, 64); err != nil {
			return nil, fmt.Errorf("count: %w", err)
		}
	}
	return list, nil
}
