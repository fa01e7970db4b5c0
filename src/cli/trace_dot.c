/* SPDX-License-Identifier: Apache-2.0 */
/* Source: graphviz.org, The DOT Language: escapes in quoted texts and labels. */
#include <stdlib.h>

#include "cli/text.h"
#include "cli/trace.h"
#include "log/record.h"

#define STYLE                                                                                      \
    "  rankdir=LR;\n"                                                                              \
    "  graph [fontname=\"Helvetica\", fontsize=11, labelloc=t, nodesep=0.2, ranksep=0.5, "         \
    "style=\"rounded\", color=\"#b6bfcc\", fontcolor=\"#44505f\"];\n"                              \
    "  node [fontname=\"Helvetica\", fontsize=11, shape=box, style=\"rounded,filled\", "           \
    "color=\"#5b6776\", fontcolor=\"#1c232b\", margin=\"0.12,0.06\"];\n"                           \
    "  edge [fontname=\"Helvetica\", fontsize=9, color=\"#5b6776\", fontcolor=\"#5b6776\", "       \
    "arrowsize=0.7];\n"

static const char *const colours[] = {"#dbe9fb", "#dff3e1", "#fdebd2", "#f2e1f7",
                                      "#fbdfe3", "#d9f2f1", "#f6f1cd", "#e6e6ee"};
#define COLOURS (sizeof(colours) / sizeof(colours[0]))

/* Within quotes. A label reads backslashes and & itself. */
static void write_text(struct dbk_buf *out, struct dbk_slice text)
{
    struct dbk_buf visible;
    dbk_buf_init(&visible, out->size_max);
    dbk_text_write_visible(&visible, text);
    if (visible.rc < 0)
        out->rc = visible.rc;
    for (size_t i = 0; i < visible.size && out->rc == DBK_OK; i++) {
        char byte = visible.data[i];
        if (byte == '&')
            dbk_buf_append_text(out, "&amp;");
        else if (byte == '"' || byte == '\\')
            dbk_buf_append_format(out, "\\%c", byte);
        else
            dbk_buf_append_char(out, byte);
    }
    dbk_buf_release(&visible);
}

static int compare_streams(const void *a, const void *b)
{
    const struct dbk_trace_line *left = *(const struct dbk_trace_line *const *)a;
    const struct dbk_trace_line *right = *(const struct dbk_trace_line *const *)b;
    int order =
        dbk_slice_compare(dbk_stream_category(left->stream), dbk_stream_category(right->stream));
    if (order == 0)
        order = dbk_slice_compare(left->stream, right->stream);
    return order != 0 ? order : (left->row > right->row) - (left->row < right->row);
}

static void write_node(struct dbk_buf *out, const struct dbk_trace_line *line, const char *colour)
{
    dbk_buf_append_format(out, "    n%ju [label=\"", (uintmax_t)line->row);
    write_text(out, line->type);
    dbk_buf_append_format(out, "\\n#%ju  v%ju  ", (uintmax_t)line->position,
                          (uintmax_t)line->version);
    dbk_trace_write_offset(out, line->offset_us);
    if (line->actor.size > 0) {
        dbk_buf_append_text(out, "\\n");
        write_text(out, line->actor);
    }
    if (line->outside) {
        dbk_buf_append_text(out, "\\nof ");
        write_text(out, line->correlation);
    }
    if (line->outside)
        dbk_buf_append_text(out, "\", style=\"rounded,dashed\"];\n");
    else
        dbk_buf_append_format(out, "\", fillcolor=\"%s\"];\n", colour);
}

/* Lines stand by category and stream. */
static void write_streams(struct dbk_buf *out, const struct dbk_trace_line *const *lines,
                          size_t count)
{
    size_t streams = 0;
    size_t categories = 0;
    for (size_t i = 0; i < count; i++) {
        struct dbk_slice stream = lines[i]->stream;
        struct dbk_slice category = dbk_stream_category(stream);
        if (lines[i]->unknown) {
            dbk_buf_append_format(out, "  n%ju [label=\"", (uintmax_t)lines[i]->row);
            write_text(out, lines[i]->cause);
            dbk_buf_append_text(out, "\", shape=ellipse, style=\"dashed\"];\n");
            continue;
        }
        bool known = i > 0 && !lines[i - 1]->unknown;
        bool same = known && dbk_slice_equal(lines[i - 1]->stream, stream);
        if (!known || !dbk_slice_equal(dbk_stream_category(lines[i - 1]->stream), category))
            categories++;
        if (!same) {
            dbk_buf_append_format(out, "  subgraph cluster_%zu {\n    label=\"", ++streams);
            write_text(out, stream);
            dbk_buf_append_text(out, "\";\n");
        }
        write_node(out, lines[i], colours[(categories - 1) % COLOURS]);
        if (i + 1 == count || !dbk_slice_equal(lines[i + 1]->stream, stream))
            dbk_buf_append_text(out, "  }\n");
    }
}

static void write_causes(struct dbk_buf *out, const struct dbk_trace_line *lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct dbk_trace_line *line = &lines[i];
        uint64_t cause = line->circle > 0 ? line->circle : line->parent;
        if (cause == 0 || cause > count)
            continue;
        dbk_buf_append_format(out, "  n%ju -> n%ju", (uintmax_t)cause, (uintmax_t)line->row);
        if (line->circle > 0) {
            dbk_buf_append_text(out, " [color=\"#c0392b\", style=dashed, label=\"circle\"]");
        } else if (line->later) {
            dbk_buf_append_text(out, " [color=\"#c0392b\", label=\"recorded later\"]");
        } else if (!lines[cause - 1].unknown && line->offset_us != lines[cause - 1].offset_us) {
            dbk_buf_append_text(out, " [label=\"");
            dbk_trace_write_offset(out, line->offset_us - lines[cause - 1].offset_us);
            dbk_buf_append_text(out, "\"]");
        }
        dbk_buf_append_text(out, ";\n");
    }
}

int dbk_trace_write_dot(struct dbk_buf *out, struct dbk_slice correlation,
                        const struct dbk_trace_line *lines, size_t count, struct dbk_error *err)
{
    const struct dbk_trace_line **order = dbk_alloc((count + 1) * sizeof(*order));
    if (order == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory drawing a trace");
    for (size_t i = 0; i < count; i++)
        order[i] = &lines[i];
    qsort((void *)order, count, sizeof(*order), compare_streams);
    dbk_buf_append_text(out, "digraph trace {\n" STYLE "  label=\"");
    write_text(out, correlation);
    dbk_buf_append_text(out, "\";\n");
    write_streams(out, order, count);
    write_causes(out, lines, count);
    dbk_buf_append_text(out, "}\n");
    dbk_free((void *)order);
    return out->rc < 0 ? dbk_error_set(err, out->rc, "drawing a trace: %s", dbk_code_text(out->rc))
                       : DBK_OK;
}
