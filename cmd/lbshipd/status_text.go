package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
)

// printStatus writes the status for people.
func printStatus(w io.Writer, st *admin.Status, now time.Time) error {
	fmt.Fprintf(w, "lbshipd %s: %s\n", st.Version, st.Status)
	for _, r := range st.Reasons {
		fmt.Fprintf(w, "  %s\n", screen.OneLine(r))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nconfiguration\t%s\n", configState(&st.Config))
	if c := st.Collector; c != nil && c.RemotecfgStatus == config.RemotecfgDown {
		fmt.Fprintf(t, "its store\tcannot be reached: what ran goes on, and nobody else sees how this node does\n")
	}
	fmt.Fprintf(t, "positions\t%s\n", saveState(&st.Positions, now))
	t.Flush()

	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nSOURCE\tKIND\tFORMAT\tINPUTS\tRATE\tSTATE")
	for _, s := range st.Sources {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", s.Name, s.Kind, s.Format, s.Inputs, screen.Rate(s.Rate), sourceState(&s))
	}
	t.Flush()

	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nTARGET\tKIND\tRATE\tQUEUED\tMEMORY\tLAG\tBEHIND\tSTATE")
	for i := range st.Targets {
		x := &st.Targets[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s of %s\t%s\t%s\t%s\n", x.Name, x.Kind, screen.Rate(x.Rate), screen.Grouped(x.QueuedRecords), screen.Size(x.QueueBytes), screen.Size(x.QueueLimit),
			screen.Seconds(x.LagSeconds), screen.Count(x.BehindInputs, "input"), targetState(x, now))
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
		limit, condition := "of "+screen.Size(sp.Limit), state(sp.Error)
		if sp.Limit == 0 {
			limit = "(being emptied)"
		}
		if sp.Full {
			condition = "full: records stay at their sources"
		}
		fmt.Fprintf(t, "%s%s\t%s\t%s %s\t%s\n", header, targets[i].Name, screen.Grouped(sp.Records), screen.Size(sp.Bytes), limit, condition)
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
		text += "; the newest one is refused: " + screen.OneLine(c.Refused)
	}
	if c.Cached {
		text += "; as it was when the store could be reached last"
	}
	if n := len(c.Rejected); n > 0 {
		text += "; without " + screen.Count(n, "object") + " that cannot be used"
	}
	return text
}

func saveState(p *admin.PositionStatus, now time.Time) string {
	text := "not saved yet"
	if p.Saved != nil {
		text = "saved " + screen.Rough(now.Sub(*p.Saved)) + " ago"
	}
	if p.Error != "" {
		text += "; cannot be saved now: " + screen.OneLine(p.Error)
	}
	return text
}

func state(err string) string {
	if err == "" {
		return "ok"
	}
	return screen.OneLine(err)
}

func sourceState(s *admin.SourceStatus) string {
	if s.Error == "" && s.Silent {
		return "silent for " + screen.Seconds(s.QuietSeconds)
	}
	return state(s.Error)
}

func targetState(t *admin.TargetStatus, now time.Time) string {
	if t.Class == "" {
		return "ok"
	}
	text := "failing"
	if t.FailingSince != nil {
		text += " for " + screen.Rough(now.Sub(*t.FailingSince))
	}
	text += " (" + t.Class + ")"
	if t.NextTry != nil && t.NextTry.After(now) {
		text += ", next try in " + screen.Rough(t.NextTry.Sub(now))
	} else {
		text += ", being tried"
	}
	return text + ": " + screen.OneLine(t.Error)
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
		fmt.Fprintf(t, "%-*s  %-*s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", wide, r.Source, wider, r.Target, screen.Grouped(r.Read), screen.Grouped(r.Delivered), screen.Grouped(r.Filtered),
			screen.Grouped(r.Refused), screen.Grouped(r.Lost), screen.Grouped(r.InFlight), riskText(r))
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
			what = append(what, screen.Grouped(x.Bytes)+" bytes")
		}
		if x.UnsizedGaps > 0 {
			what = append(what, "an unknown number "+times(x.UnsizedGaps))
		}
		note("lost, %s: %s, in %s", reason, strings.Join(what, " and "), screen.Count(int(x.Gaps), "gap"))
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
		return screen.Size(*r.AtRiskBytes)
	}
	return screen.Size(*r.AtRiskBytes) + " in " + screen.Seconds(*r.AtRiskSeconds)
}

func records(n int64) string {
	if n == 1 {
		return "1 record"
	}
	return screen.Grouped(n) + " records"
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return screen.Grouped(n) + " times"
}
