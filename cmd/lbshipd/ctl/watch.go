package ctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
)

// watchEvery is how often get --watch looks.
var watchEvery = 2 * time.Second

// watcher prints what changes of lists.
type watcher struct {
	*getOptions
	c     *cobra.Command
	table *screen.Table
	shown map[ref][]string // cells, or one with the JSON
	down  bool             // the daemon does not answer, and that was said
}

// watchAll prints what there is and then each line that changes, until the
// command is interrupted. A daemon that is started anew in between is waited for.
func (g *getOptions) watchAll(c *cobra.Command, l *lister) error {
	defer interruptible(c)()
	ctx := c.Context()
	w := &watcher{getOptions: g, c: c, table: g.getTable(), shown: map[ref][]string{}}
	for first := true; ; first = false {
		lists, err := l.list(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (first || !passes(err)):
			return err
		case err != nil:
			w.say(err)
		default:
			w.down = false
			if err := w.update(lists, first); err != nil {
				return err
			}
		}
		if !pause(ctx, watchEvery) {
			return nil
		}
	}
}

// passes reports whether an error may be gone when asked again.
func passes(err error) bool {
	var e *client.Error
	if errors.As(err, &e) {
		return e.Status == 429 || e.Status >= 500
	}
	return errors.As(err, new(*client.UnreachableError))
}

// say tells once that the daemon does not answer.
func (w *watcher) say(err error) {
	if !w.down {
		w.down = true
		fmt.Fprintf(w.c.ErrOrStderr(), "%s (asked again every %v)\n", screen.OneLine(err.Error()), watchEvery)
	}
}

// pause waits, and returns false if ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// update prints the lines that are not what they were.
func (w *watcher) update(lists []objectList, first bool) error {
	gone := map[ref]bool{}
	for r := range w.shown {
		gone[r] = true
	}
	for _, l := range lists {
		if first && !w.noHeaders && !w.out.structured() && w.out.form != outName && len(lists) == 1 {
			w.table.Add(w.titles(l.kind)...)
		}
		for _, o := range l.objects {
			r := ref{l.kind, o.Name}
			delete(gone, r)
			if err := w.line(r, o); err != nil {
				return err
			}
		}
	}
	for r := range gone {
		delete(w.shown, r)
		if w.out.structured() {
			fmt.Fprintf(w.c.ErrOrStderr(), "%s is deleted\n", screen.OneLine(r.String()))
			continue
		}
		w.table.Add(r.name, "(deleted)")
	}
	return w.table.Flush(w.c.OutOrStdout())
}

// line prints an object if it is not what it was.
func (w *watcher) line(r ref, o client.Object) error {
	if w.out.structured() {
		if now := []string{string(o.JSON)}; !slices.Equal(w.shown[r], now) {
			w.shown[r] = now
			if w.out.form == outYAML {
				fmt.Fprintln(w.c.OutOrStdout(), "---")
			}
			return w.out.print(w.c.OutOrStdout(), o.JSON)
		}
		return nil
	}
	cells, err := w.cells(r.kind, o)
	if err == nil && !slices.Equal(w.shown[r], cells) {
		w.shown[r] = cells
		w.table.Add(cells...)
	}
	return err
}
