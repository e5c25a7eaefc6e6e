package screen

import (
	"io"
	"strings"
	"unicode/utf8"
)

// Table lines up columns, three spaces apart. Its columns keep the width they
// once had, so that rows that come later stand below the first.
type Table struct {
	// Cut shortens longer cells, in letters; 0: none is cut.
	Cut int

	widths []int
	rows   [][]string
}

// Add adds a row. What the cells hold is made safe and one line; an empty one is shown as "-".
func (t *Table) Add(cells ...string) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		if row[i] = OneLine(cell); row[i] == "" {
			row[i] = "-"
		}
		if n := utf8.RuneCountInString(row[i]); t.Cut > 3 && n > t.Cut {
			row[i] = string([]rune(row[i])[:t.Cut-3]) + "..."
		}
		if i == len(t.widths) {
			t.widths = append(t.widths, 0)
		}
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(row[i]))
	}
	t.rows = append(t.rows, row)
}

// Flush writes the rows that were added since the last Flush.
func (t *Table) Flush(w io.Writer) error {
	var b strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)+3))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	t.rows = nil
	_, err := io.WriteString(w, b.String())
	return err
}
