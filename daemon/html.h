/* html.h -- a writer of HTML into an evbuffer: what is not our own literal is escaped.
 * Pure.  html_put() is for literals alone; names, reasons and numbers go through the other two. */
#ifndef PINROUTED_HTML_H
#define PINROUTED_HTML_H

struct evbuffer;

/* Markup of our own, as it stands. */
void html_put(struct evbuffer *out, const char *literal);

/* Text, in an element or in a quoted attribute.  Control characters and bytes that are no UTF-8 are spelled out, as
 * text_clean() does; cut at 1,000 bytes. */
void html_text(struct evbuffer *out, const char *text);
void html_textf(struct evbuffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
