package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/lbshipd/lbshipd/admin"
)

// printStatus writes the status for people.
func printStatus(w io.Writer, st *admin.Status, now time.Time) error {
	fmt.Fprintf(w, "lbshipd %s: %s\n", st.Version, st.Status)
	for _, r := range st.Reasons {
		fmt.Fprintf(w, "  %s\n", oneLine(r))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nconfiguration\t%s\n", configState(&st.Config))
	fmt.Fprintf(t, "positions\t%s\n", saveState(&st.Positions, now))
	t.Flush()

	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nSOURCE\tKIND\tFORMAT\tINPUTS\tSTATE")
	for _, s := range st.Sources {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\n", s.Name, s.Kind, s.Format, s.Inputs, state(s.Error))
	}
	t.Flush()

	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nTARGET\tKIND\tQUEUED\tMEMORY\tLAG\tBEHIND\tSTATE")
	for i := range st.Targets {
		x := &st.Targets[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s of %s\t%s\t%s\t%s\n", x.Name, x.Kind, grouped(x.QueuedRecords), size(x.QueueBytes), size(x.QueueLimit),
			seconds(x.LagSeconds), count(x.BehindInputs, "input"), targetState(x, now))
	}
	t.Flush()
	printSpools(w, st.Targets)
	fmt.Fprintln(w)
	return printLedger(w, st.Ledger)
}

// printSpools writes what is in the spools, if there are any.
func printSpools(w io.Writer, targets []admin.TargetStatus) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	header := "\nSPOOL OF\tRECORDS\tON DISK\tSTATE\n"
	for i := range targets {
		sp := targets[i].Spool
		if sp == nil {
			continue
		}
		limit, condition := "of "+size(sp.Limit), state(sp.Error)
		if sp.Limit == 0 {
			limit = "(being emptied)"
		}
		if sp.Full {
			condition = "full: records stay at their sources"
		}
		fmt.Fprintf(t, "%s%s\t%s\t%s %s\t%s\n", header, targets[i].Name, grouped(sp.Records), size(sp.Bytes), limit, condition)
		header = ""
	}
	t.Flush()
}

func configState(c *admin.ConfigStatus) string {
	text := "none is running"
	if c.Applied != nil {
		text = "applied " + c.Applied.Format(time.RFC3339)
	}
	if c.Refused != "" {
		text += "; the newest one is refused: " + oneLine(c.Refused)
	}
	if c.Cached {
		text += "; as it was when the store could be reached last"
	}
	if n := len(c.Rejected); n > 0 {
		text += "; without " + count(n, "object") + " that cannot be used"
	}
	return text
}

func saveState(p *admin.PositionStatus, now time.Time) string {
	text := "not saved yet"
	if p.Saved != nil {
		text = "saved " + rough(now.Sub(*p.Saved)) + " ago"
	}
	if p.Error != "" {
		text += "; cannot be saved now: " + oneLine(p.Error)
	}
	return text
}

func state(err string) string {
	if err == "" {
		return "ok"
	}
	return oneLine(err)
}

func targetState(t *admin.TargetStatus, now time.Time) string {
	if t.Class == "" {
		return "ok"
	}
	text := "failing"
	if t.FailingSince != nil {
		text += " for " + rough(now.Sub(*t.FailingSince))
	}
	text += " (" + t.Class + ")"
	if t.NextTry != nil && t.NextTry.After(now) {
		text += ", next try in " + rough(t.NextTry.Sub(now))
	} else {
		text += ", being tried"
	}
	return text + ": " + oneLine(t.Error)
}

// printLedger writes the ledger and, below it, the reasons.
func printLedger(w io.Writer, rows []admin.LedgerStatus) error {
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	// Names to the left, numbers to the right.
	wide, wider := len("SOURCE"), len("TARGET")
	for i := range rows {
		wide, wider = max(wide, len(rows[i].Source)), max(wider, len(rows[i].Target))
	}
	fmt.Fprintf(t, "%-*s  %-*s\tREAD =\tDELIVERED +\tFILTERED +\tREFUSED +\tLOST +\tIN FLIGHT\tAT RISK\t\n", wide, "SOURCE", wider, "TARGET")
	var notes []string
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(t, "%-*s  %-*s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", wide, r.Source, wider, r.Target, grouped(r.Read), grouped(r.Delivered), grouped(r.Filtered),
			grouped(r.Refused), grouped(r.Lost), grouped(r.InFlight), riskText(r))
		notes = append(notes, ledgerNotes(r)...)
	}
	t.Flush()
	var text strings.Builder
	for line := range strings.Lines(table.String()) {
		text.WriteString(strings.TrimSpace(line) + "\n") // the first column is padded too
	}
	for _, n := range notes {
		text.WriteString(n + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// ledgerNotes says what the columns of a row cannot.
func ledgerNotes(r *admin.LedgerStatus) []string {
	var notes []string
	note := func(format string, args ...any) {
		notes = append(notes, fmt.Sprintf("%s to %s: ", r.Source, r.Target)+fmt.Sprintf(format, args...))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.RefusedBy)) {
		note("refused, %s: %s", reason, records(r.RefusedBy[reason]))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.LostBy)) {
		x := r.LostBy[reason]
		var what []string
		if x.Records > 0 {
			what = append(what, records(x.Records))
		}
		if x.Bytes > 0 {
			what = append(what, grouped(x.Bytes)+" bytes")
		}
		if x.UnsizedGaps > 0 {
			what = append(what, "an unknown number "+times(x.UnsizedGaps))
		}
		note("lost, %s: %s, in %s", reason, strings.Join(what, " and "), count(int(x.Gaps), "gap"))
	}
	if r.Difference != 0 {
		note("does not add up: %s too many were read. That is a fault of lbshipd; please report it", records(r.Difference))
	}
	return notes
}

func riskText(r *admin.LedgerStatus) string {
	switch {
	case r.AtRiskBytes == nil:
		return "-"
	case *r.AtRiskBytes == 0:
		return "none"
	case r.AtRiskSeconds == nil:
		return size(*r.AtRiskBytes)
	}
	return size(*r.AtRiskBytes) + " in " + seconds(*r.AtRiskSeconds)
}

func records(n int64) string {
	if n == 1 {
		return "1 record"
	}
	return grouped(n) + " records"
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return grouped(n) + " times"
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	if n < 0 {
		return "-" + grouped(-n)
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func seconds(s float64) string { return rough(time.Duration(s * float64(time.Second))) }

// rough writes a duration as people say it.
func rough(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.Round(time.Second).String()
}

// oneLine makes one line of what a target may have said: nothing of it is to reach the terminal as a command.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}
