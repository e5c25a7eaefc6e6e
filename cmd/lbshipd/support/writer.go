package support

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// writer takes in one part, up to a number of bytes.
type writer struct {
	buf     bytes.Buffer
	most    int
	cut     bool
	missing []Missing
}

var _ io.Writer = (*writer)(nil)

// Write drops what is too much, and says so at the end of the part.
func (w *writer) Write(b []byte) (int, error) {
	if w.cut {
		return len(b), nil
	}
	if w.buf.Len()+len(b) > w.most {
		w.cut = true
		w.buf.Write(b[:w.most-w.buf.Len()])
		fmt.Fprintf(&w.buf, "\n(cut here: more than %d bytes)\n", w.most)
		return len(b), nil
	}
	return w.buf.Write(b)
}

func (w *writer) printf(format string, args ...any) { fmt.Fprintf(w, format, args...) }

// miss notes a piece that could not be gathered.
func (w *writer) miss(what string, err error) {
	if err != nil {
		w.missing = append(w.missing, Missing{what, err.Error()})
	}
}

// json writes a value as JSON that people can read.
func (w *writer) json(v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// indented writes a JSON text so that people can read it; what is none as it is.
func (w *writer) indented(text []byte) {
	var out bytes.Buffer
	if json.Indent(&out, text, "", "  ") != nil {
		out.Reset()
		out.Write(text)
	}
	out.WriteByte('\n')
	w.Write(out.Bytes())
}
