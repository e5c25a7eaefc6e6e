package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
)

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the report for people: findings first, the worst on top, then what was looked at.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "lbshipd %s: %s\n", r.Version, screen.OneLine(r.Daemon))
	for i := range r.Findings {
		f := &r.Findings[i]
		fmt.Fprintf(&b, "\n%s  %s  %s\n", strings.ToUpper(string(f.Level)), f.ID, screen.OneLine(f.Where))
		fmt.Fprintf(&b, "  What: %s\n  Why:  %s\n", screen.OneLine(f.What), f.Why)
		for _, m := range f.Mend {
			writeRemedy(&b, &m)
		}
	}
	b.WriteString("\n")
	var t screen.Table
	t.Add("CHECK", "OUTCOME", "SECONDS", "NOT LOOKED AT")
	incomplete := 0
	for _, c := range r.Checks {
		reason := c.Reason
		if reason == "" {
			reason = " "
		} else {
			incomplete++
		}
		t.Add(c.Name, c.Status, fmt.Sprintf("%.1f", c.Seconds), reason)
	}
	if err := t.Flush(&b); err != nil {
		return err
	}
	b.WriteString("\n" + r.summary(incomplete) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func writeRemedy(b *strings.Builder, m *Remedy) {
	fmt.Fprintf(b, "  Mend: %s\n", screen.OneLine(m.Say))
	if m.Run != "" {
		fmt.Fprintf(b, "        %s\n", screen.OneLine(m.Run))
	}
}

// summary is the last line.
func (r *Report) summary(incomplete int) string {
	errors, warnings := 0, 0
	for i := range r.Findings {
		if r.Findings[i].Level == Error {
			errors++
		} else {
			warnings++
		}
	}
	text := "Nothing is wrong"
	if errors+warnings > 0 {
		text = screen.Count(errors, "error") + ", " + screen.Count(warnings, "warning")
	}
	if incomplete > 0 {
		text += fmt.Sprintf(", as far as could be looked at: %s could not be made, or not to the end", screen.Count(incomplete, "check"))
	}
	return text + "."
}

// WriteKinds lists what there is to be found.
func WriteKinds(w io.Writer) error {
	var t screen.Table
	t.Add("FINDING", "LEVEL", "WHAT IS FOUND")
	for _, k := range kinds {
		t.Add(k.ID, string(k.Level), k.What)
	}
	return t.Flush(w)
}
