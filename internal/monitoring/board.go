package monitoring

// board lays out a dashboard: panels go from left to right, and begin a line where one
// does not fit.
type board struct {
	d          *dashboard
	x, y       int
	lineHeight int // of the highest panel in the line
}

const columns = 24

func newBoard(uid, title, description string, variables ...variable) *board {
	d := &dashboard{UID: uid, Title: title, Description: description, Tags: []string{"lbshipd"}, SchemaVersion: 39, Version: 1,
		Editable: true, GraphTooltip: 1, Refresh: "1m", Time: timeRange{"now-6h", "now"}, Timezone: "browser",
		Annotations: list{[]any{}},
		Links:       []link{{Title: "lbshipd", Type: "dashboards", Icon: "external link", Tags: []string{"lbshipd"}, IncludeVars: true, KeepTime: true}}}
	for _, v := range variables {
		d.Templating.List = append(d.Templating.List, v)
	}
	return &board{d: d}
}

// row begins a section.
func (b *board) row(title string) {
	b.newLine()
	open := false
	b.place(&panel{Type: "row", Title: title, Collapsed: &open, Panels: []any{}}, columns, 1)
	b.newLine()
}

func (b *board) newLine() {
	b.x, b.y, b.lineHeight = 0, b.y+b.lineHeight, 0
}

func (b *board) place(p *panel, w, h int) {
	if b.x+w > columns {
		b.newLine()
	}
	p.ID, p.GridPos = len(b.d.Panels)+1, gridPos{H: h, W: w, X: b.x, Y: b.y}
	b.x += w
	b.lineHeight = max(b.lineHeight, h)
	b.d.Panels = append(b.d.Panels, p)
}

// line is one query of a graph with its legend.
type line struct{ expr, legend string }

// Units of Grafana.
const (
	perSecond      = "cps"
	bytesPerSecond = "binBps"
	inBytes        = "bytes"
	inSeconds      = "s"
	inDuration     = "dtdurations"
	plain          = "short"
	share          = "percentunit"
)

// graph adds a graph over time; a third of the width.
func (b *board) graph(title, unit, description string, lines ...line) {
	p := &panel{Type: "timeseries", Title: title, Description: description, Datasource: prometheus,
		FieldConfig: &fieldConfig{Overrides: []any{}, Defaults: fieldDefaults{Unit: unit, Color: map[string]any{"mode": "palette-classic"},
			Custom: map[string]any{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "axisSoftMin": 0, "spanNulls": false}}},
		Options: map[string]any{"legend": map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true},
			"tooltip": map[string]any{"mode": "multi", "sort": "desc"}}}
	for i, l := range lines {
		p.Targets = append(p.Targets, query{RefID: string(rune('A' + i)), Datasource: prometheus, Expr: l.expr, LegendFormat: l.legend, EditorMode: "code", Range: true})
	}
	b.place(p, 8, 8)
}

// stat adds one figure, an eighth of the width, that is green up to the first of limits,
// orange up to the second, and red from there on. Limits that fall are for what must not be small.
func (b *board) stat(title, unit, none, expr string, limits ...float64) {
	b.place(&panel{Type: "stat", Title: title, Datasource: prometheus,
		FieldConfig: &fieldConfig{Overrides: []any{}, Defaults: fieldDefaults{Unit: unit, NoValue: none, Color: map[string]any{"mode": "thresholds"}, Thresholds: colored(limits)}},
		Options: map[string]any{"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
			"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}},
		Targets: []query{{RefID: "A", Datasource: prometheus, Expr: expr, EditorMode: "code", Instant: true}}}, 3, 4)
}

// label adds a figure that is the value of a label.
func (b *board) label(title, expr, legend string) {
	b.stat(title, plain, "-", expr)
	p := b.d.Panels[len(b.d.Panels)-1]
	p.Targets[0].LegendFormat = legend
	p.Options.(map[string]any)["textMode"] = "name"
}

func colored(limits []float64) *thresholds {
	t := &thresholds{Mode: "absolute", Steps: []step{{Color: "green"}}}
	switch {
	case len(limits) == 1:
		t.Steps = append(t.Steps, step{"red", &limits[0]})
	case len(limits) == 2 && limits[0] < limits[1]:
		t.Steps = append(t.Steps, step{"orange", &limits[0]}, step{"red", &limits[1]})
	case len(limits) == 2:
		t.Steps = []step{{Color: "red"}, {"orange", &limits[1]}, {"green", &limits[0]}}
	}
	return t
}

// column is one query of a table: its value, by title and unit; without a title only
// its labels are shown.
type column struct{ title, unit, expr string }

// table adds a table of the whole width, with a row for each set of the labels that
// the queries leave, and links from nodes to their page.
func (b *board) table(title, description string, hidden []string, columns ...column) {
	p := &panel{Type: "table", Title: title, Description: description, Datasource: prometheus,
		FieldConfig: &fieldConfig{Overrides: []any{}, Defaults: fieldDefaults{Custom: map[string]any{"align": "auto", "filterable": true, "inspect": false}}},
		Options:     map[string]any{"showHeader": true, "cellHeight": "sm", "footer": map[string]any{"show": false, "reducer": []string{"sum"}, "fields": ""}}}
	rename, exclude := map[string]string{}, map[string]bool{"Time": true}
	for _, h := range hidden {
		exclude[h] = true
	}
	for i, c := range columns {
		ref := string(rune('A' + i))
		p.Targets = append(p.Targets, query{RefID: ref, Datasource: prometheus, Expr: c.expr, EditorMode: "code", Format: "table", Instant: true})
		if c.title == "" {
			exclude["Value"], exclude["Value #"+ref] = true, true
			continue
		}
		rename["Value #"+ref] = c.title
		if len(columns) == 1 {
			rename["Value"] = c.title
		}
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override(c.title, "unit", c.unit))
	}
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override("instance", "links", []map[string]any{{"title": "This node",
		"url": "/d/lbshipd-node?var-datasource=${datasource}&var-job=${__data.fields.job}&var-node=${__data.fields.instance}&${__url_time_range}"}}))
	p.Transformations = []any{
		map[string]any{"id": "merge", "options": map[string]any{}},
		map[string]any{"id": "organize", "options": map[string]any{"excludeByName": exclude, "indexByName": map[string]int{}, "renameByName": rename}},
	}
	b.newLine()
	b.place(p, 24, 8)
}

func override(field, property string, value any) map[string]any {
	return map[string]any{"matcher": map[string]any{"id": "byName", "options": field}, "properties": []any{map[string]any{"id": property, "value": value}}}
}
