/* test_option.c -- the table of options holds together. */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/option.h"

Test(option, every_default_can_be_read_and_shows_as_it_is_written)
{
        for (const struct option *o = options; o < options + N_OPTIONS; o++) {
                char field[VALUE_TEXT_MAX], why[VALUE_WHY_MAX], shown[VALUE_TEXT_MAX];
                if (o->fallback[0] == '=') {
                        cr_expect(option_find(o->scope, o->fallback + 1), "%s", o->key);
                } else if (o->scope != SCOPE_NODE || o->fallback[0]) {
                        cr_expect(value_read(&o->rule, o->fallback, field, why), "%s: %s", o->key, why);
                        value_show(o->rule.kind, field, shown, sizeof shown);
                        cr_expect_str_eq(shown, o->fallback, "%s", o->key);
                }
                cr_expect_eq(option_find(o->scope, o->key), o, "%s stands once in its section", o->key);
        }
        cr_expect_null(option_find(SCOPE_NODE, "fall"));
}

Test(option, defaults_fill_the_fields_they_name)
{
        struct cluster_conf c = {0};
        struct option_node n = {0};
        option_defaults(SCOPE_CLUSTER, &c);
        option_defaults(SCOPE_NODE, &n);
        cr_expect(c.pin_seconds_ms == 15000 && c.fall == 2 && c.early_release == 1 && c.lag_resume_ms == 0);
        cr_expect(n.role == 0 && n.weight == 1 && n.max_lag_ms == 0);
        cr_expect_eq(option_field(&options[OPTION_CLUSTER_rise], &c), (void *)&c.rise);
}

Test(option, an_unknown_key_is_answered_with_the_place_or_the_word_that_was_meant)
{
        char why[VALUE_WHY_MAX];
        option_unknown(SCOPE_CLUSTER, "riise", why);
        cr_expect_str_eq(why, "unknown key, did you mean rise?");
        option_unknown(SCOPE_DAEMON, "rise", why);
        cr_expect_str_eq(why, "does not belong here; move it to [cluster NAME]");
        option_unknown(SCOPE_CLUSTER, "weight", why);
        cr_expect_str_eq(why, "does not belong here; move it to a line of [nodes NAME]");
        option_unknown(SCOPE_DAEMON, "zzzzzz", why);
        cr_expect(strstr(why, "known here: dir, ") && strstr(why, "stale_limit"), "%s", why);
}
