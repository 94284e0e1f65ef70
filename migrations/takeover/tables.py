"""The tables of a warehouse, and what those of an old and a new one have in common."""

from collections.abc import Mapping

ORDERS, SALES, CALENDAR = "staging.user_order_log", "mart.f_sales", "mart.d_calendar"
ITEM, CITY, CUSTOMER = "mart.d_item", "mart.d_city", "mart.d_customer"
RETENTION = "mart.f_customer_retention"

# What an old warehouse and a new one have in common; varchar of whatever length.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    ORDERS: {
        "uniq_id": "character varying",
        "date_time": "timestamp without time zone",
        "city_id": "integer",
        "city_name": "character varying",
        "customer_id": "integer",
        "first_name": "character varying",
        "last_name": "character varying",
        "item_id": "integer",
        "item_name": "character varying",
        "quantity": "bigint",
        "payment_amount": "numeric(10,2)",
    },
    CALENDAR: {"date_id": "integer", "date_actual": "date", "week_of_year_iso": "character(10)"},
    ITEM: {"item_id": "integer", "item_name": "character varying"},
    CITY: {"city_id": "integer", "city_name": "character varying"},
    CUSTOMER: {
        "customer_id": "integer",
        "first_name": "character varying",
        "last_name": "character varying",
        "city_id": "integer",
    },
    SALES: {
        "date_id": "integer",
        "item_id": "integer",
        "customer_id": "integer",
        "city_id": "integer",
        "quantity": "bigint",
        "payment_amount": "numeric(10,2)",
    },
}
# What the takeover adds: type, whether it is not null from the first, and the column of SALES that
# it never is without.
ADDED = (
    (SALES, "refund_flag", "boolean", True, "uniq_id"),
    (SALES, "uniq_id", "character varying", False, "refund_flag"),
    (ORDERS, "status", "character varying", True, "refund_flag"),
)
# Primary or unique, and then foreign keys.
KEYS = ((CALENDAR, "date_id"), (ITEM, "item_id"), (CITY, "city_id"), (CUSTOMER, "customer_id"))
REFERENCES = ((SALES, "date_id"), (SALES, "item_id"), (SALES, "customer_id"))
NAMES = (
    (ITEM, "item_name"),
    (CITY, "city_name"),
    (CUSTOMER, "first_name"),
    (CUSTOMER, "last_name"),
)
