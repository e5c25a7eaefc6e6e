package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/lbshipd/lbshipd/config"
)

func (out reply) write(w http.ResponseWriter, log *slog.Logger) {
	h := w.Header()
	if out.etag != "" {
		h.Set("ETag", quoteETag(out.etag))
	}
	if !out.modified.IsZero() {
		h.Set("Last-Modified", out.modified.UTC().Format(http.TimeFormat))
	}
	for i, p := range out.warnings {
		if i == maxWarnings {
			break
		}
		h.Add("Warning", warning(p))
	}
	if out.status == http.StatusNotModified {
		w.WriteHeader(out.status)
		return
	}
	if out.status == 0 {
		out.status = http.StatusOK
	}
	text, ok := out.body.(json.RawMessage)
	if !ok {
		var err error
		if text, err = marshal(out.body); err != nil {
			log.Error("writing an answer of the API", "error", err)
			(&failure{status: http.StatusInternalServerError, Code: CodeInternal, Message: "the answer cannot be written; the daemon's log says why"}).write(w)
			return
		}
	}
	send(w, out.status, text)
}

// marshal writes JSON with <, > and & as they are: it is not for HTML, and regular
// expressions are to be read.
func marshal(v any) (json.RawMessage, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return out.Bytes(), err
}

// send writes JSON and ends it with a line break, for terminals.
func send(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone; there is nobody left to tell.
	_, _ = w.Write(text)
	if len(text) == 0 || text[len(text)-1] != '\n' {
		_, _ = w.Write([]byte("\n"))
	}
}

// maxWarnings and maxWarning bound the headers of an answer: how many, and bytes of each.
const (
	maxWarnings = 10
	maxWarning  = 300
)

// warning writes what is odd as a Warning header of code 299 ("miscellaneous
// persistent", RFC 7234 section 5.5), as Kubernetes does.
func warning(p config.Problem) string {
	p.File, p.Line = "", 0
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, p.String())
	if len(text) > maxWarning {
		text = text[:maxWarning] + "..."
	}
	return fmt.Sprintf(`299 lbshipd "%s"`, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text))
}
